"""t-SNE maps: train rows by target and by cluster, test rows by target and by prediction.

Test rows are added to the map of the train rows, so that places can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fused_clip.figures.projection import project_both
from fused_clip.figures.style import (
    COLUMN,
    INK,
    MARGIN,
    NOISE,
    PAGE,
    Heading,
    Legend,
    LegendEntry,
    Mark,
    cut,
    facts,
    mark,
    shade,
    wrap,
)
from fused_clip.model.result import Result
from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray
from fused_clip.support.sampling import stratified_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 20  # more targets than this can not be distinguished by shape and colour: number them
MOST_NUMBERS = 100  # more than these would cover the map
MOST_ENTRIES = 150  # a longer legend would be longer than the page
KEY = "legend: target (its clusters)"
FITTED = "map fitted on the train rows"
MOST_MARKS = 3  # shades of one target's clusters that its legend entry shows


@dataclass(frozen=True)
class _Map:
    """One panel: places, what colours them (-1 is grey), and the rows that get a dark edge."""

    title: str
    caption: tuple[str, ...]
    positions: DoubleArray
    window: DoubleArray
    categories: IntArray
    legend: tuple[LegendEntry, ...]
    numbers: bool
    marks: Callable[[int], Mark] = mark
    wrong: BoolArray | None = None

    @property
    def shape(self) -> float:
        """Height over width of the window, limited to [0.6, 1]."""
        across, down = np.ptp(self.window, axis=0)
        return float(np.clip(down / across, 0.6, 1.0)) if across > 0 else 1.0


def draw_maps(result: Result, *, points: int, seed: int) -> dict[str, Figure]:
    """Draw each map alone, and all on one page as ``tsne``.

    Parameters
    ----------
    result : of a run.
    points : rows of each split, at most.
    seed : draws those rows and starts t-SNE.
    """
    train, test = (stratified_sample(split.targets, points, seed) for split in (result.train, result.test))
    places = project_both(result.train.fused[train], result.test.fused[test], seed)
    panels = _panels(result, train, test, places)
    alone = {f"tsne_{name}": _column_figure(result, panel) for name, panel in panels.items()}
    return {"tsne": _page_figure(result, list(panels.values())), **alone}


def _panels(
    result: Result, train: IntArray, test: IntArray, places: tuple[DoubleArray, DoubleArray]
) -> dict[str, _Map]:
    window = _window(np.concatenate(places))
    of_train = f"{len(train):,} of {len(result.train):,} train rows"
    of_test = f"{len(test):,} of {len(result.test):,} test rows"
    clusters, predicted = result.train.clusters[train], result.test.predicted[test]
    targets, truth = result.train.targets[train], result.test.targets[test]
    by_target = partial(
        _Map,
        window=window,
        legend=tuple(LegendEntry((mark(index),), name) for index, name in enumerate(_names(result))),
        numbers=_targets_are_numbered(result),
    )
    shades = f"{len(result.cluster_targets)} clusters in shades of their majority target"
    by_cluster = _Map(
        "Train rows by cluster",
        (of_train, FITTED, *_grey(clusters, "noise"), shades, KEY),
        places[0],
        window,
        clusters,
        legend=_cluster_entries(result),
        numbers=len(result.cluster_targets) <= MOST_NUMBERS,
        marks=_cluster_marks(result),
    )
    wrong = (predicted != truth) & result.test.labelled
    edge = (f"dark edge: {int(wrong.sum()):,} wrong",) if result.test.labelled else ()
    added = (FITTED, _added(result))
    caption = (of_test, *edge, *_grey(predicted, "undecided"), *added)
    panels = {
        "train_target": by_target("Train rows by target", (of_train, FITTED), places[0], categories=targets),
        "train_cluster": by_cluster,
        "test_target": by_target("Test rows by target", (of_test, *added), places[1], categories=truth),
        "test_prediction": by_target(
            "Test rows by prediction", caption, places[1], categories=predicted, wrong=wrong
        ),
    }
    labelled = {"train": result.train.labelled, "test": result.test.labelled}
    return {name: one for name, one in panels.items() if "target" not in name or labelled[name.split("_")[0]]}


def _window(places: DoubleArray) -> DoubleArray:
    """(2, 2) lowest and highest place to show: those of all rows, and a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = np.maximum(0.03 * (high - low).max(), 1e-9)
    return np.stack([low - margin, high + margin])


def _added(result: Result) -> str:
    fused = ", each fused with its predicted prompt" if (result.test.prompts >= 0).any() else ""
    return f"test rows added{fused}"


def _grey(categories: IntArray, word: str) -> tuple[str, ...]:
    grey = int((categories == -1).sum())
    return (f"grey: {grey:,} {word}",) if grey else ()


def _targets_are_numbered(result: Result) -> bool:
    return NUMBERED < len(result.target_names) <= MOST_NUMBERS


def _names(result: Result) -> list[str]:
    """Target names for legends, with their numbers if the map has numbers."""
    if _targets_are_numbered(result):
        return [f"{index} {cut(name, 20)}" for index, name in enumerate(result.target_names)]
    return [cut(name, 24) for name in result.target_names]


def _cluster_marks(result: Result) -> Callable[[int], Mark]:
    """Each cluster in the shape and a shade of its majority target's colour."""
    marks = {-1: NOISE}
    for target in np.unique(result.cluster_targets):
        members = np.flatnonzero(result.cluster_targets == target)
        one = mark(int(target))
        for rank, cluster in enumerate(members):
            marks[int(cluster)] = Mark(shade(one.colour, rank, len(members)), one.marker)
    return marks.__getitem__


def _cluster_entries(result: Result) -> tuple[LegendEntry, ...]:
    """One entry per target, with the numbers of its clusters or "missing"."""
    marks = _cluster_marks(result)
    entries = []
    for target, name in enumerate(_names(result)):
        members = [int(cluster) for cluster in np.flatnonzero(result.cluster_targets == target)]
        numbers = cut(", ".join(map(str, members)), 12) if members else "missing"
        shades = tuple(marks(cluster) for cluster in members[:MOST_MARKS])
        entries.append(LegendEntry(shades, f"{cut(name, 20)} ({numbers})"))
    return tuple(entries)


def _sheet(heading: Heading, entries: Sequence[LegendEntry], width: float, body: float) -> Figure:
    """A figure with heading and legend, and `body` inches between them."""
    from matplotlib.figure import Figure

    legend = Legend(entries if len(entries) <= MOST_ENTRIES else (), width)
    figure = Figure(figsize=(width, heading.height(width) + body + MARGIN + legend.height))
    heading.put(figure)
    legend.put(figure)
    return figure


def _column_figure(result: Result, panel: _Map) -> Figure:
    heading = Heading(panel.title, (*facts(result), *panel.caption))
    across = COLUMN - 2 * MARGIN
    down = across * panel.shape
    figure = _sheet(heading, panel.legend, COLUMN, down)
    height = figure.get_figheight()
    y = height - heading.height(COLUMN) - down
    _fill(figure.add_axes((MARGIN / COLUMN, y / height, across / COLUMN, down / height)), panel)
    return figure


def _page_figure(result: Result, panels: Sequence[_Map]) -> Figure:
    """Two panels per row."""
    heading = Heading("t-SNE of the fused rows", (*facts(result), FITTED, _added(result), KEY))
    label, gap = 0.36, 0.12
    across = (PAGE - 2 * MARGIN - gap) / 2
    down = across * panels[0].shape
    figure = _sheet(heading, _cluster_entries(result), PAGE, -(-len(panels) // 2) * (down + label))
    height = figure.get_figheight()
    for number, panel in enumerate(panels):
        row, column = divmod(number, 2)
        x = MARGIN + column * (across + gap)
        y = height - heading.height(PAGE) - (row + 1) * (down + label)
        _fill(figure.add_axes((x / PAGE, y / height, across / PAGE, down / height)), panel)
        top = y + down
        figure.text(x / PAGE, (top + 0.18) / height, panel.title, size=8, color=INK)
        caption = wrap([part for part in panel.caption if part not in heading.caption], 6, across)[0]
        figure.text(x / PAGE, (top + 0.06) / height, caption, size=6, color=INK)
    return figure


def _fill(axes: Axes, panel: _Map) -> None:
    """Scatter the rows, greys first, and number the categories if asked."""
    positions, window = panel.positions, panel.window
    wrong = np.zeros(len(positions), dtype=bool) if panel.wrong is None else panel.wrong
    size = float(np.clip(14_000 / max(len(positions), 1), 3.0, 14.0))
    for category in np.unique(panel.categories):
        one, inside = panel.marks(int(category)), panel.categories == category
        # One edge per call: matplotlib draws rows of one look several times faster than mixed ones.
        for rows, edge, width in ((inside & ~wrong, "white", 0.15), (inside & wrong, "black", 0.4)):
            x, y = positions[rows].T
            axes.scatter(x, y, s=size, c=one.colour, marker=one.marker, edgecolors=edge, linewidths=width)
    axes.set(xticks=[], yticks=[], xlim=window[:, 0], ylim=window[:, 1])
    axes.set_aspect("equal", adjustable="datalim")
    if panel.numbers:
        _number(axes, panel)


def _number(axes: Axes, panel: _Map) -> None:
    """Write each category's number at the row nearest to the median of its rows, moved off other numbers."""
    from matplotlib.patheffects import withStroke

    categories = [int(one) for one in np.unique(panel.categories) if one >= 0]
    places = []
    for category in categories:
        inside = panel.positions[panel.categories == category]
        places.append(inside[np.linalg.norm(inside - np.median(inside, axis=0), axis=1).argmin()])
    size = 6.5 if len(categories) <= 40 else 4.5
    across = float(np.ptp(panel.window, axis=0).max())
    # A two-digit number is about as wide as its size in points; a panel is some 240 points across.
    for category, (x, y) in zip(
        categories, _spread(np.array(places), across * 1.3 * size / 240), strict=True
    ):
        text = axes.text(x, y, str(category), size=size, ha="center", va="center")
        text.set_path_effects([withStroke(linewidth=1.4, foreground="white")])


def _spread(places: DoubleArray, gap: float) -> DoubleArray:
    """Push (m, 2) places apart until no two are nearer than about `gap`."""
    places = places.copy()
    for _ in range(50):
        offsets = places[:, None] - places[None]
        distances = np.linalg.norm(offsets, axis=2)
        np.fill_diagonal(distances, np.inf)
        if (distances >= gap).all():
            break
        push = np.clip(gap - distances, 0.0, None) / np.maximum(distances, 1e-3 * gap)
        places += 0.25 * (offsets * push[..., None]).sum(axis=1)
    return places
