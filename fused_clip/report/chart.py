"""Accuracy of every cell, with its references, as one figure."""

import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fused_clip.figures import DPI
from fused_clip.figures.style import FAINT, INK, MARGIN, PAGE, cut, house_style, mark, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 40  # more can't be read at the height of a page


@dataclass(frozen=True)
class ChartRow:
    """One row of the chart.

    Parameters
    ----------
    label : name of the cell.
    accuracies : of the method, one a seed; at least one.
    references : mean accuracy of each reference, by its title.
    """

    label: str
    accuracies: Sequence[float]
    references: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean accuracy of the method."""
        return statistics.fmean(self.accuracies)


def most_accurate(rows: Sequence[ChartRow]) -> list[ChartRow]:
    """Return the rows of highest accuracy, as many as a chart can show, in their order.

    Parameters
    ----------
    rows : of all cells.
    """
    kept = sorted(range(len(rows)), key=lambda place: rows[place].mean, reverse=True)[:MOST_ROWS]
    return [rows[place] for place in sorted(kept)]


def draw_cells(rows: Sequence[ChartRow], setting: str) -> bytes:
    """Draw accuracy per cell, the method in black with the deviation of its seeds; PNG.

    Parameters
    ----------
    rows : from top to bottom, at least one.
    setting : data and backbone, written below the axis.
    """
    from matplotlib.figure import Figure

    titles = list(dict.fromkeys(title for row in rows for title in row.references))
    with house_style():
        figure = Figure(figsize=(PAGE, 0.19 * len(rows) + 1.25), layout="constrained")
        axes = figure.subplots()
        for number, title in enumerate(titles):
            places = [place for place, row in enumerate(rows) if title in row.references]
            values = [rows[place].references[title] for place in places]
            one = mark(number)
            axes.plot(values, places, one.marker, color=one.colour, ms=4, mew=0, alpha=0.85, label=title)
        # A ring: references often coincide with the method, and have to be seen inside it.
        axes.errorbar(
            [row.mean for row in rows], range(len(rows)), xerr=[deviation(row.accuracies) for row in rows],
            fmt="o", color=INK, ms=8, mfc="none", elinewidth=1, capsize=2, label="method", zorder=3,
        )  # fmt: skip
        axes.set_yticks(range(len(rows)), [cut(row.label, 60) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(labelsize=7, colors=INK)
        axes.grid(lw=0.3, color=FAINT, alpha=0.4)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis_label("test accuracy", setting), size=6.5)
        figure.legend(loc="outside upper center", ncols=5, fontsize=6.5, frameon=False)
        return png_of(figure)


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation; 0 for a single value.

    Parameters
    ----------
    values : one a seed.
    """
    return statistics.stdev(values) if len(values) > 1 else 0.0


def axis_label(name: str, setting: str) -> str:
    """Return an axis' label with the picture's own caption below, for readers without the page.

    Parameters
    ----------
    name : of the axis.
    setting : data and backbone, in parts that ``; `` separates.
    """
    facts = ("bars: one standard deviation over seeds", *setting.split("; "))
    return "\n".join([name, *wrap(facts, 6.5, PAGE - 2 * MARGIN)])


def png_of(figure: "Figure") -> bytes:
    """Save a figure at the resolution of all figures.

    Parameters
    ----------
    figure : drawn in the house style.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()
