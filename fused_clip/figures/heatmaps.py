"""Heat maps of shares: true against predicted target, and cluster against target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fused_clip.figures.style import COLUMN, FAINT, INK, MARGIN, PAGE, Heading, cut, facts, width_of
from fused_clip.model.result import Result
from fused_clip.support.arrays import IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_CELL = 0.42  # inches
SMALLEST_CELL = 0.15  # inches; below this in a column, the figure takes the page's width
TALLEST = 8.0  # inches of cells
SMALLEST_NUMBER = 4.0  # points


def confusion(result: Result) -> Figure:
    """Test rows: share of each true target's rows that got each prediction.

    Parameters
    ----------
    result : of a run with labels.
    """
    names = list(result.target_names)
    counts = _crosstab(result.test.targets, result.test.predicted, len(names), len(names))
    undecided = bool(counts[:, -1].any())
    right = int((result.test.targets == result.test.predicted).sum())
    notes = (f"{right:,} of {len(result.test):,} rows right", "per cent of each true target's rows")
    return _heatmap(
        Heading("Confusion on the test split", (*facts(result), *notes)),
        counts if undecided else counts[:, :-1],
        down=("true target", names),
        across=("predicted target", [*names, "undecided"] if undecided else names),
    )


def composition(result: Result) -> Figure:
    """Train rows: share of each target in each cluster, clusters of one target together.

    Parameters
    ----------
    result : of a run with labels.
    """
    names, labels = list(result.target_names), result.cluster_targets
    counts = _crosstab(result.train.targets, result.train.clusters, len(names), len(labels)).T
    order = [int(one) for one in np.lexsort((np.arange(len(labels)), labels))]
    rows = [f"{cut(names[labels[one]], 20) if labels[one] >= 0 else 'none'} #{one}" for one in order]
    if counts[-1].any():
        order.append(len(labels))
        rows.append("noise")
    counts = counts[order]
    rows = [f"{row} ({int(size):,})" for row, size in zip(rows, counts.sum(axis=1), strict=True)]
    notes = [f"{len(result.train):,} train rows", "per cent of each cluster's rows"]
    if result.missing_targets:
        notes.append(f"missing: {cut(', '.join(result.missing_targets), 60)}")
    return _heatmap(
        Heading("Clusters by target", (*facts(result), *notes)),
        counts,
        down=("majority target # cluster (rows)", rows),
        across=("true target", names),
    )


def _crosstab(rows: IntArray, columns: IntArray, n_rows: int, n_columns: int) -> IntArray:
    """(n_rows, n_columns + 1) counts; the last column counts where `columns` is -1."""
    counts = np.zeros((n_rows, n_columns + 1), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def _heatmap(
    heading: Heading, counts: IntArray, *, down: tuple[str, list[str]], across: tuple[str, list[str]]
) -> Figure:
    """Draw a table as narrow as its cells allow; `down` and `across` are the title and labels of an axis."""
    from matplotlib.figure import Figure

    n_rows, n_columns = counts.shape
    rows, columns = [cut(name, 34) for name in down[1]], [cut(name, 22) for name in across[1]]
    tall = min(LARGEST_CELL, TALLEST / n_rows)
    left, bar = 0.24 + _widest(rows, _label_size(tall)), 0.5
    for width in (COLUMN, PAGE):
        cell = min(LARGEST_CELL, (width - 2 * MARGIN - left - bar) / n_columns)
        if cell >= SMALLEST_CELL:
            break
    tall = min(cell, tall)
    label = _label_size(cell)
    upright = _widest(columns, label) > 0.85 * cell
    bottom = 0.24 + (_widest(columns, label) if upright else label / 72)
    height = heading.height(width) + n_rows * tall + bottom + MARGIN
    figure = Figure(figsize=(width, height))
    heading.put(figure)
    x, y = (MARGIN + left) / width, (MARGIN + bottom) / height
    wide, high = n_columns * cell / width, n_rows * tall / height
    axes = figure.add_axes((x, y, wide, high))
    _cells(axes, counts, min(cell, tall))
    axes.set_yticks(range(n_rows), rows, size=_label_size(tall), color=INK)
    axes.set_xticks(range(n_columns), columns, size=label, color=INK, rotation=90 if upright else 0)
    axes.tick_params(length=0, pad=2)
    figure.text(MARGIN / width, y + high / 2, down[0], size=7, rotation=90, va="center", color=INK)
    figure.text(x + wide / 2, MARGIN / height, across[0], size=7, ha="center", color=INK)
    _scale(figure.add_axes((x + wide + 0.1 / width, y, 0.09 / width, high)))
    return figure


def _scale(side: Axes) -> None:
    """Draw the colour scale in per cent."""
    import matplotlib as mpl

    colours = np.linspace(0, 100, 256)[:, None]
    side.imshow(colours, cmap=mpl.colormaps["Blues"], aspect="auto", origin="lower", extent=(0, 1, 0, 100))
    side.yaxis.tick_right()
    side.set_xticks([])
    side.set_yticks([0, 50, 100], ["0", "50", "100"], size=6.5, color=FAINT)
    side.tick_params(length=2, width=0.4, pad=1.5, color=FAINT)


def _label_size(cell: float) -> float:
    """Points of the label of a cell of so many inches."""
    return min(6.5, cell * 72 * 0.95)


def _widest(labels: list[str], size: float) -> float:
    return max((width_of(label, size) for label in labels), default=0.0)


def _cells(axes: Axes, counts: IntArray, cell: float) -> None:
    """Colour the cells by per cent of their row, and write the number if it is legible."""
    import matplotlib as mpl

    sums = counts.sum(axis=1, keepdims=True)
    share = np.where(sums > 0, 100 * counts / np.maximum(sums, 1), np.nan)
    colours = mpl.colormaps["Blues"].with_extremes(bad="#e9e9e9")
    axes.imshow(
        np.ma.masked_invalid(share), cmap=colours, vmin=0, vmax=100, aspect="auto", interpolation="nearest"
    )
    size = min(7.0, cell * 72 / 2)
    if size < SMALLEST_NUMBER:
        return
    for row, column in zip(*np.nonzero(counts), strict=True):
        value = share[row, column]
        ink = "white" if value > 55 else INK
        axes.text(column, row, f"{value:.0f}", size=size, color=ink, ha="center", va="center_baseline")
