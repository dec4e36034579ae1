"""Accuracy, ARI and purity against a factor, with every reference in the same axes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fused_clip.figures.style import COLOURS, FAINT, INK, PAGE, house_style
from fused_clip.report.chart import axis_label, deviation, png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHOD = "method"


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Parameters
    ----------
    dataset, measure : names of its row and column.
    lines : by name, the values of all seeds at each level; empty where nothing was measured. The line
        called "method" is drawn larger, with the spread of its seeds.
    """

    dataset: str
    measure: str
    lines: Mapping[str, Sequence[Sequence[float]]]


def draw_curves(
    panels: Sequence[Panel], levels: Sequence[str], axis: str, *, steps: int, setting: str
) -> bytes:
    """Draw panels in a grid, a row a dataset and a column a measure; PNG.

    Parameters
    ----------
    panels : one a dataset and measure.
    levels, axis : names along the horizontal axis, and its label.
    steps : number of first levels that are joined by lines.
    setting : data and backbone, written below the axis.
    """
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(panel.dataset for panel in panels))
    columns = list(dict.fromkeys(panel.measure for panel in panels))
    with house_style():
        figure = Figure(figsize=(PAGE, 1.75 * len(rows) + 0.9), layout="constrained")
        grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True)
        names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
        for panel in panels:
            axes = grid[rows.index(panel.dataset)][columns.index(panel.measure)]
            _draw(axes, panel, names, steps=steps)
            style = {"size": 6, "rotation": 60, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(len(levels)), levels, **style)
            if panel.dataset == rows[0]:
                axes.set_title(panel.measure, size=8, color=INK)
            if panel.measure == columns[0]:
                axes.set_ylabel(panel.dataset, size=8, color=INK)
        figure.supxlabel(axis_label(axis, setting), size=6.5, color=INK)
        found = grid[0][0].get_legend_handles_labels()
        figure.legend(*found, loc="outside upper center", ncols=4, fontsize=6, frameon=False)
        return png_of(figure)


def _draw(axes: Axes, panel: Panel, names: Sequence[str], *, steps: int) -> None:
    for name, values in panel.lines.items():
        places = [place for place, some in enumerate(values) if some]
        means = [statistics.fmean(values[place]) for place in places]
        method = name == METHOD
        colour = INK if method else COLOURS[(names.index(name) - 1) % len(COLOURS)]
        size, width, style, layer = (5, 1.6, "-", 2) if method else (2.2, 0.8, "--", 3)
        axes.plot(places, means, "o", label=name, color=colour, ms=size, zorder=layer)
        joined = sum(place < steps for place in places)
        axes.plot(places[:joined], means[:joined], style, lw=width, color=colour, zorder=layer)
        if method:
            spread = [deviation(values[place]) for place in places]
            axes.errorbar(places, means, spread, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2)
    axes.tick_params(labelsize=6, colors=FAINT)
    axes.grid(axis="y", lw=0.3, color=FAINT, alpha=0.4)
