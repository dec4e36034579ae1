"""A self-contained page to look at predictions: thumbnails by predicted target and by cluster."""

import heapq
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from fused_clip.dataset import decode
from fused_clip.support import web

PER_SECTION = 24
_PIXELS = 160  # longest side of a thumbnail: sharp on a dense screen at the size shown


@dataclass(frozen=True)
class GalleryItem:
    """What was predicted for a picture.

    Parameters
    ----------
    path : where it is, as the reader knows it.
    target : name of the predicted target.
    probability : of that target, in [0, 1]; None where the model gives none.
    margin : distance to the nearest cluster of another target minus distance to the winning one; inf
        where there is no other target.
    cluster : index of the winning cluster.
    abstained : whether the prediction was too uncertain to be given.
    """

    path: str
    target: str
    probability: float | None
    margin: float
    cluster: int
    abstained: bool

    @property
    def name(self) -> str:
        """Name of its file."""
        return PurePath(self.path).name or self.path

    @property
    def certainty(self) -> str:
        """As the page shows it."""
        return f"margin {self.margin:.3g}" if self.probability is None else f"{self.probability:.0%}"


@dataclass
class _Section:
    """The first `size` items of a section in its order, and counts of all."""

    size: int
    total: int = 0
    abstained: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    _kept: list[tuple[float, int, GalleryItem]] = field(default_factory=list)

    def add(self, rank: float, number: int, item: GalleryItem) -> None:
        """Count the item, and keep it if it is among the first so far; of equal ones the earlier stays."""
        self.total += 1
        self.abstained += item.abstained
        self.targets[item.target] += 1
        heapq.heappush(self._kept, (-rank, -number, item))
        if len(self._kept) > self.size:
            heapq.heappop(self._kept)

    @property
    def shown(self) -> list[GalleryItem]:
        """Those kept, lowest rank first."""
        return [item for _, _, item in sorted(self._kept, key=lambda kept: (-kept[0], -kept[1]))]


def write(
    path: Path,
    items: Iterable[GalleryItem],
    thumbnails: Callable[[Set[str]], Mapping[str, bytes]],
    *,
    per_section: int = PER_SECTION,
) -> None:
    """Write the page: a section a target, least certain first, then one a cluster, surest first.

    Items are looked at one by one; only those that the page shows are kept, and asked for their thumbnails.

    Parameters
    ----------
    thumbnails : gives them, as `thumbnail` does, for the paths of what the page shows; one that it lacks is
        left out.
    per_section : thumbnails that a section shows at most, at least 1; it says how many there are.
    """
    targets: dict[str, _Section] = {}
    clusters: dict[int, _Section] = {}
    for number, item in enumerate(items):
        sure = item.margin if item.probability is None else item.probability
        targets.setdefault(item.target, _Section(per_section)).add(sure, number, item)
        clusters.setdefault(item.cluster, _Section(per_section)).add(-sure, number, item)
    sections = [*targets.values(), *clusters.values()]
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
        thumbnails=thumbnails({item.path for section in sections for item in section.shown}),
    )


def thumbnail(encoded: bytes) -> bytes:
    """Scale an image file down to a thumbnail, as WebP.

    Raises
    ------
    UnreadableImageError
        As `fused_clip.dataset.decode.decode`.
    """
    file = io.BytesIO()
    decode.thumbnail(encoded, _PIXELS).save(file, "WEBP", quality=85)
    return file.getvalue()


def _named(clusters: dict[int, _Section]) -> Iterator[tuple[str, _Section]]:
    for index, section in sorted(clusters.items()):
        names = ", ".join(name for name, _ in section.targets.most_common(3))
        yield f"Cluster {index}: {names}", section
