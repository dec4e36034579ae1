"""The gap between true and swapped prompts, and purity by prompt, against the spacing of prompts."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fused_clip.figures.style import FAINT, INK, PAGE, house_style, mark
from fused_clip.report.chart import axis_label, deviation, png_of


@dataclass(frozen=True)
class GapPoint:
    """One spacing of the prompts of a dataset.

    Parameters
    ----------
    dataset : its name.
    spacing : of the prompts, above 0.
    gaps : size of the difference of accuracies, one a seed; at least one.
    purity : by prompt.
    """

    dataset: str
    spacing: float
    gaps: Sequence[float]
    purity: float


def draw_gaps(points: Sequence[GapPoint], setting: str) -> bytes:
    """Draw two panels, a line a dataset, over a logarithmic axis of the spacing; PNG.

    Parameters
    ----------
    points : at least one.
    setting : data and backbone, written below the axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    with house_style():
        figure = Figure(figsize=(PAGE, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True)
        for place, dataset in enumerate(dict.fromkeys(point.dataset for point in points)):
            own = sorted((point for point in points if point.dataset == dataset), key=lambda one: one.spacing)
            style = mark(place)
            spacings, gaps = [one.spacing for one in own], [statistics.fmean(one.gaps) for one in own]
            look = {"color": style.colour, "marker": style.marker, "ms": 3.5, "lw": 0.9}
            spread = [deviation(one.gaps) for one in own]
            left.errorbar(spacings, gaps, spread, label=dataset, elinewidth=0.7, capsize=1.5, **look)
            right.plot(spacings, [one.purity for one in own], **look)
        for axes, title in ((left, "|task - swapped|, accuracy"), (right, "purity by prompt")):
            axes.set_title(title, size=8, color=INK)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.axvline(1, lw=0.6, ls=":", color=FAINT)
            axes.tick_params(labelsize=6, colors=FAINT)
            axes.grid(axis="y", lw=0.3, color=FAINT, alpha=0.4)
        figure.supxlabel(axis_label("spacing of prompts", setting), size=6.5, color=INK)
        handles = left.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=4, fontsize=6, frameon=False)
        return png_of(figure)
