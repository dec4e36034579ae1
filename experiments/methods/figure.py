"""The figure of the study: accuracy against labels, a panel a dataset."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.methods.fits import Fit, Fits, labels_text
from experiments.methods.measure import BUDGETS, DATASETS, Wanted
from fused_clip.figures.style import COLOURS, FAINT, INK, PAGE, house_style
from fused_clip.report.chart import png_of
from fused_clip.report.studies.significance import Estimate, seed_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = (
    "zero_shot",
    "paper",
    "cosine_mean",
    "shrunk_mean",
    "linear_probe",
    "gda",
    "lp_plus_plus",
    "clap",
    "auto",
)


def draw(fits: Fits, methods: Sequence[Wanted], backbone: str) -> bytes:
    """Accuracy against labels: a panel a dataset, a line a method, bars the 95 % interval over seeds."""
    from matplotlib.figure import Figure

    titles = {wanted.name: wanted.title for wanted in methods}
    with house_style():
        figure = Figure(figsize=(PAGE, 4.6), layout="constrained")
        panels = figure.subplots(2, 4)
        for name, axes in zip(DATASETS, panels.flat, strict=True):
            _draw_panel(axes, fits, name, titles)
        for axes in panels[:, 0]:
            axes.set_ylabel("test accuracy", size=7, color=INK)
        figure.supxlabel(
            f"labels a class; backbone={backbone}, bars: 95 % interval over seeds", size=7, color=INK
        )
        lines = {
            label: line
            for axes in figure.axes
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            lines.values(), lines.keys(), loc="outside upper center", ncols=5, fontsize=6, frameon=False
        )
        return png_of(figure)


def _draw_panel(axes: "Axes", fits: Fits, dataset: str, titles: Mapping[str, str]) -> None:
    for number, method in enumerate(DRAWN):
        points = [(0, 0)] if method == "zero_shot" else list(enumerate(BUDGETS))
        found = [(x, _seeds(fits.get((dataset, method, budget), {}))) for x, budget in points]
        estimates = [(x, one) for x, one in found if not math.isnan(one.mean)]
        if estimates:
            colour = INK if method == "paper" else COLOURS[number % len(COLOURS)]
            _draw_method(axes, method, estimates, titles[method], colour)
    if not axes.lines:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", size=7, color=FAINT)
    axes.set_title(dataset, size=8, color=INK)
    axes.set_xticks(range(len(BUDGETS)), [labels_text(budget) for budget in BUDGETS])
    axes.tick_params(labelsize=6, colors=FAINT)
    axes.grid(axis="y", lw=0.3, color=FAINT, alpha=0.4)


def _draw_method(
    axes: "Axes", method: str, estimates: Sequence[tuple[int, Estimate]], title: str, colour: str
) -> None:
    """A line with bars; zero-shot, which sees no label, is level."""
    means = [one.mean for _, one in estimates]
    if method == "zero_shot":
        axes.axhline(means[0], color=FAINT, lw=1.2, ls="--", label=title)
        return
    bars = [0 if math.isnan(one.error) else one.high - one.mean for _, one in estimates]
    width, size = (1.6, 3.5) if method in ("paper", "auto") else (0.9, 2.2)
    axes.errorbar(
        [x for x, _ in estimates],
        means,
        bars,
        fmt="o-",
        color=colour,
        elinewidth=0.6,
        label=title,
        lw=width,
        ms=size,
    )


def _seeds(cell: Mapping[int, Fit]) -> Estimate:
    return seed_estimate([fit.accuracy for fit in cell.values()]) if cell else Estimate(math.nan)
