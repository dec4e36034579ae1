"""A self-contained page of predictions: thumbnails by predicted target and by cluster."""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.thumbnails import thumbnail_of_file
from fused_clip.model.card import card
from fused_clip.predict.journal import Record
from fused_clip.support import web
from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing

if TYPE_CHECKING:
    from fused_clip.model.saved import SavedModel
    from fused_clip.predict.explanation import Explainer
    from fused_clip.predict.sources import ImageSource

log = logging.getLogger(__name__)

PER_SECTION = 24
_SHARES = 8  # most targets of a cluster that an explanation shows
_BAD = 100  # most unreadable images that the page lists


@dataclass(frozen=True)
class About:
    """Facts about the model.

    Parameters
    ----------
    facts : names and values, in the order shown.
    warning : about its use on other images; may be empty.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""

    @classmethod
    def of(cls, model: SavedModel, place: str, withdrawn: str = "") -> About:
        """Describe a model.

        Parameters
        ----------
        model : that made the predictions.
        place : directory or address that it was loaded from.
        withdrawn : that a guarantee on its answers is withdrawn; may be empty.
        """
        from fused_clip.method.checks import other_images

        backbone = model.require_backbone()
        facts = {"Model": place, **card(model.facts, model.names)}
        return cls(facts, " ".join(filter(None, [withdrawn, other_images(backbone)])))


@dataclass(frozen=True)
class GalleryItem:
    """A picture with its prediction.

    Parameters
    ----------
    record : of the journal.
    """

    record: Record

    @property
    def path(self) -> str:
        """Name of the image in the table."""
        return str(self.record["path"])

    @property
    def name(self) -> str:
        """Name of its file."""
        return PurePath(self.path).name or self.path

    @property
    def neighbors(self) -> Sequence[Mapping[str, Any]]:
        """Nearest training images; none unless the record is explained."""
        found: Sequence[Mapping[str, Any]] = self.record.get("neighbors") or ()
        return found

    @property
    def rank(self) -> float:
        """Certainty of the prediction: its probability, or else its margin."""
        probability: float | None = self.record["probability"]
        return float(self.record["margin"]) if probability is None else probability

    @property
    def certainty(self) -> str:
        """Certainty as text."""
        return f"margin {self.rank:.3g}" if self.record["probability"] is None else f"{self.rank:.0%}"

    @property
    def second(self) -> str:
        """Runner-up with its probability, as text; empty if only one answer is possible."""
        name, probability = self.record.get("runner_up"), self.record.get("probability_2")
        if name is None:
            return ""
        return f"2nd {name}" if probability is None else f"2nd {probability:.0%} {name}"

    @property
    def prompts_part(self) -> str:
        """Sentence about the prompt's share in the lead over the runner-up; may be empty."""
        share, second = self.record.get("prompt_share"), self.record.get("runner_up")
        if share is None:
            return ""
        if share < 0:
            return f"It speaks for {second}, and the image overrules it: {share:.0%} of the evidence."
        return f"Its share of the evidence against {second}: {share:.0%}."

    @property
    def set(self) -> str:
        """Set of answers, as text; empty if none was asked for, or it has the answer alone."""
        names = self.record.get("set")
        if names is None or names == [self.record["target"]]:
            return ""
        return f"set: {', '.join(names) or 'empty'}"


@dataclass
class _Section:
    """The first `size` items of a section, and counts of all."""

    size: int
    total: int = 0
    abstained: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    _kept: list[tuple[float, int, GalleryItem]] = field(default_factory=list)

    def add(self, rank: float, number: int, item: GalleryItem) -> None:
        """Count the item, and keep it if it is among the first so far; the earlier wins a tie."""
        self.total += 1
        self.abstained += item.record["abstained"]
        self.targets[item.record["target"]] += 1
        heapq.heappush(self._kept, (-rank, -number, item))
        if len(self._kept) > self.size:
            heapq.heappop(self._kept)

    @property
    def shown(self) -> list[GalleryItem]:
        """Kept items, lowest rank first."""
        return [item for _, _, item in sorted(self._kept, key=lambda kept: (-kept[0], -kept[1]))]


@contextmanager
def drawn(
    path: Path,
    source: ImageSource,
    records: Iterable[Record],
    about: About,
    max_pixels: int,
    explainer: Explainer | None = None,
) -> Iterator[None]:
    """Draw the page, and move it to its path when the with block ends without an error.

    Parameters
    ----------
    path : of the page.
    source : images, read again for their thumbnails; one that is gone is left out.
    records : of the journal.
    about : describes the model.
    max_pixels : an image with more is unreadable.
    explainer : gives the pictures of training images that explanations name; None for none.
    """
    neighbors = None if explainer is None else explainer.thumbnails
    try:
        with replacing(path) as draft:
            write(draft, records, partial(_thumbnails, source, max_pixels), about, neighbors=neighbors)
            yield
    except OSError as error:
        raise InputError("gallery", f"{path} can't be written ({error.strerror})") from error


def write(
    path: Path,
    records: Iterable[Record],
    thumbnails: Callable[[Set[str]], Mapping[str, bytes]],
    about: About | None = None,
    *,
    neighbors: Callable[[Set[int]], Mapping[int, bytes]] | None = None,
    per_section: int = PER_SECTION,
) -> None:
    """Write the page: a section a target, least certain first, then one a cluster, most certain first.

    A picture whose record is explained opens its explanation.

    Parameters
    ----------
    path : of the page.
    records : of the journal, read one by one; those with an ``error`` are listed.
    thumbnails : gives the thumbnails of images by name; images without one are left out.
    about : describes the model.
    neighbors : gives the thumbnails of training images by position; None for none.
    per_section : most thumbnails of a section, at least 1.
    """
    targets: dict[str, _Section] = {}
    clusters: dict[int, _Section] = {}
    unreadable: list[Record] = []
    bad = 0
    for number, record in enumerate(records):
        if "error" in record:
            bad += 1
            unreadable += [record] if bad <= _BAD else []
            continue
        item = GalleryItem(record)
        targets.setdefault(record["target"], _Section(per_section)).add(item.rank, number, item)
        if record["cluster"] >= 0:  # some classifiers have no clusters
            clusters.setdefault(record["cluster"], _Section(per_section)).add(-item.rank, number, item)
    sections = [*targets.values(), *clusters.values()]
    shown = {item.path: item for section in sections for item in section.shown}
    explained = {path: number for number, (path, item) in enumerate(shown.items()) if item.neighbors}
    near = {one["position"] for path in explained for one in shown[path].neighbors}
    path.parent.mkdir(parents=True, exist_ok=True)
    web.render(
        "gallery.html",
        path,
        styles=("base.css", "gallery.css"),
        title="Predictions",
        about=about or About(),
        total=sum(section.total for section in targets.values()),
        abstained=sum(section.abstained for section in targets.values()),
        bad=bad,
        unreadable=unreadable,
        per_section=per_section,
        targets=sorted(targets.items()),
        clusters=list(_named(clusters)),
        thumbnails=thumbnails(shown.keys()),
        shown=shown,
        explained=explained,
        neighbors=neighbors(near) if neighbors else {},
        most_shares=_SHARES,
    )


def _named(clusters: dict[int, _Section]) -> Iterator[tuple[str, _Section]]:
    for index, section in sorted(clusters.items()):
        names = ", ".join(name for name, _ in section.targets.most_common(3))
        yield f"Cluster {index}: {names}", section


def _thumbnails(source: ImageSource, max_pixels: int, paths: Set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in source:
        if item.path in paths and item.path not in found:
            try:
                found[item.path] = thumbnail_of_file(item.read(), max_pixels)
            except (UnreadableImageError, OSError) as error:
                log.warning("%s is not in the gallery: %s", item.path, error)
    return found
