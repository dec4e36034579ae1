"""A self-contained page to look at predictions: thumbnails by predicted target and by cluster."""

import heapq
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from fused_clip import web

if TYPE_CHECKING:
    from PIL import Image

PER_SECTION = 24
_PIXELS = 160  # longest side of a thumbnail: sharp on a dense screen at the size shown


@dataclass(frozen=True)
class GalleryItem:
    """A picture and what was predicted for it.

    Parameters
    ----------
    image : of any size and mode; it is scaled down.
    path : where it is, as the reader knows it.
    target : name of the predicted target.
    probability : of that target, in [0, 1]; None where the model gives none.
    margin : distance to the nearest cluster of another target minus distance to the winning one; inf
        where there is no other target.
    cluster : index of the winning cluster.
    abstained : whether the prediction was too uncertain to be given.
    """

    image: "Image.Image"
    path: str
    target: str
    probability: float | None
    margin: float
    cluster: int
    abstained: bool


@dataclass(frozen=True)
class _Thumbnail:
    """What the page shows of an item."""

    webp: bytes
    path: str
    name: str
    target: str
    certainty: str
    abstained: bool


@dataclass
class _Section:
    """The first `size` items of a section in its order, and counts of all."""

    size: int
    total: int = 0
    abstained: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    _kept: list[tuple[float, int, _Thumbnail]] = field(default_factory=list)

    def admits(self, rank: float) -> bool:
        """Whether an item of this rank is among the first so far; of equal ones the earlier stays."""
        return len(self._kept) < self.size or rank < -self._kept[0][0]

    def count(self, item: GalleryItem) -> None:
        self.total += 1
        self.abstained += item.abstained
        self.targets[item.target] += 1

    def keep(self, rank: float, number: int, thumbnail: _Thumbnail) -> None:
        heapq.heappush(self._kept, (-rank, -number, thumbnail))
        if len(self._kept) > self.size:
            heapq.heappop(self._kept)

    @property
    def thumbnails(self) -> list[_Thumbnail]:
        """Those kept, lowest rank first."""
        return [thumbnail for _, _, thumbnail in sorted(self._kept, key=lambda kept: (-kept[0], -kept[1]))]


def write(path: Path, items: Iterable[GalleryItem], *, per_section: int = PER_SECTION) -> None:
    """Write the page: a section a target, least certain first, then one a cluster, surest first.

    Items are looked at one by one; only the thumbnails that the page shows are kept.

    Parameters
    ----------
    per_section : thumbnails that a section shows at most, at least 1; it says how many there are.
    """
    targets: dict[str, _Section] = {}
    clusters: dict[int, _Section] = {}
    for number, item in enumerate(items):
        sure = item.margin if item.probability is None else item.probability
        places = [
            (targets.setdefault(item.target, _Section(per_section)), sure),
            (clusters.setdefault(item.cluster, _Section(per_section)), -sure),
        ]
        for section, _ in places:
            section.count(item)
        admitting = [(section, rank) for section, rank in places if section.admits(rank)]
        if admitting:
            thumbnail = _thumbnail(item)
            for section, rank in admitting:
                section.keep(rank, number, thumbnail)
    path.parent.mkdir(parents=True, exist_ok=True)
    web.render(
        "gallery.html",
        path,
        styles=("base.css", "gallery.css"),
        title="Predictions",
        total=sum(section.total for section in targets.values()),
        abstained=sum(section.abstained for section in targets.values()),
        per_section=per_section,
        targets=sorted(targets.items()),
        clusters=list(_named(clusters)),
    )


def _named(clusters: dict[int, _Section]) -> Iterator[tuple[str, _Section]]:
    for index, section in sorted(clusters.items()):
        names = ", ".join(name for name, _ in section.targets.most_common(3))
        yield f"Cluster {index}: {names}", section


def _thumbnail(item: GalleryItem) -> _Thumbnail:
    small = item.image.convert("RGB")
    small.thumbnail((_PIXELS, _PIXELS))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=85)
    certainty = f"margin {item.margin:.3g}" if item.probability is None else f"{item.probability:.0%}"
    name = PurePath(item.path).name or item.path
    return _Thumbnail(file.getvalue(), item.path, name, item.target, certainty, item.abstained)
