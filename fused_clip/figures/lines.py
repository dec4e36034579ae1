"""Line charts of what parts computed on the way to a choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fused_clip.figures.style import (
    COLUMN,
    FAINT,
    INK,
    MARGIN,
    Heading,
    Legend,
    LegendEntry,
    cut,
    facts,
    mark,
    width_of,
)
from fused_clip.metrics.curve import Curve
from fused_clip.model.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 1.7  # inches of the axes
MOST_TICKS = 12  # positions that all get a tick
DECADES = 100  # positive positions that span more than this factor are on a logarithmic axis


def line_chart(result: Result, curve: Curve) -> Figure:
    """Draw the lines of a curve, with a dashed line at the position that was chosen.

    Parameters
    ----------
    result : of the run.
    curve : with at least one position; values that are not finite are gaps.
    """
    from matplotlib.figure import Figure

    notes = () if curve.chosen is None else (f"dashed: chosen, {curve.chosen:g}",)
    heading = Heading(cut(curve.title, 60), (*facts(result), *notes))
    names = list(curve.series)
    entries = [LegendEntry((mark(number),), cut(name, 60)) for number, name in enumerate(names)]
    legend = Legend(entries if len(entries) > 1 else [], COLUMN)
    left, bottom = 0.24 + width_of("-0.000", 6.5), 0.42 + legend.height
    height = heading.height(COLUMN) + HEIGHT + bottom
    figure = Figure(figsize=(COLUMN, height))
    heading.put(figure)
    wide = COLUMN - left - 2 * MARGIN
    axes = figure.add_axes((left / COLUMN, bottom / height, wide / COLUMN, HEIGHT / height))
    _draw(axes, curve)
    middle = (bottom + HEIGHT / 2) / height
    figure.text(MARGIN / COLUMN, middle, cut(curve.y_label, 40), size=7, rotation=90, va="center", color=INK)
    axes.set_xlabel(cut(curve.x_label, 60), size=7, color=INK, labelpad=2)
    if legend.entries:
        legend.put(figure)
    return figure


def _draw(axes: Axes, curve: Curve) -> None:
    for number, values in enumerate(curve.series.values()):
        one = mark(number)
        axes.plot(
            curve.x, values, "-", marker=one.marker, color=one.colour, lw=1, ms=3.5, mew=0, clip_on=False
        )
    if curve.chosen is not None:
        axes.axvline(curve.chosen, lw=0.8, ls="--", color=INK, zorder=1)
    if min(curve.x) > 0 and max(curve.x) > DECADES * min(curve.x):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda place, _: f"{place:g}")  # its own are mathematics
        axes.minorticks_off()
    elif len(curve.x) <= MOST_TICKS:
        axes.set_xticks(curve.x, [f"{place:g}" for place in curve.x])
    axes.tick_params(labelsize=6.5, colors=FAINT, length=2, width=0.4, pad=1.5, which="both")
    axes.grid(axis="y", lw=0.3, color=FAINT, alpha=0.4)
    axes.set_axisbelow(True)
