"""The paper's Figures 2 and 3 as one grid each: t-SNE of the fused rows, strategies side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fused_clip.figures import DPI
from fused_clip.figures.projection import project
from fused_clip.figures.style import INK, MARGIN, PAGE, Heading, cut, house_style, mark
from fused_clip.output import stratified
from fused_clip.report.page import Figure
from fused_clip.result import IntArray
from fused_clip.studies.settings import dataset_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as FigureType

    from fused_clip.tracking.records import RunRecord

POINTS = 1_000  # rows a panel
PROMPTS = {"none": "image only", "task": "task", "swapped": "swapped", "grouped": "grouped"}
DATASETS = ("mnist", "cifar10", "cifar100_1")  # all seven would be smaller than the eye can read
LEGEND = 1.1  # inches of a row's width
Part = Literal["train", "test"]


def strategy_maps(records: Sequence[RunRecord], told: str) -> list[Figure]:
    """Draw both grids: rows are datasets, columns strategies; colour is the true class or group.

    The first finished run of each dataset and strategy is shown. There is no figure where no run left
    what its fused rows can be made of.
    """
    figures = []
    grids: tuple[tuple[Part, int], ...] = (("train", 2), ("test", 3))
    for split, number in grids:
        panels = _panels(records, split)
        if panels:
            caption = (
                f"As the paper's Figure {number}: t-SNE of the fused {split} rows, "
                f"{'each fused with the prompt that won, ' if split == 'test' else ''}"
                f"coloured by true class, under grouped by true group. {told}"
            )
            figures.append(Figure(caption, _grid(panels, f"Fused {split} rows")))
    return figures


Panels = Mapping[tuple[str, str], "_Rows"]


class _Rows(NamedTuple):
    """(m, 2) positions of a panel's rows and their (m,) target, with the targets' names."""

    positions: NDArray[np.float64]
    targets: IntArray
    names: Sequence[str]


def _panels(records: Sequence[RunRecord], split: Part) -> Panels:
    """Place the rows of the first run of each dataset and strategy that has them."""
    panels: dict[tuple[str, str], _Rows] = {}
    for dataset in DATASETS:
        for prompt in PROMPTS:
            runs = [
                run
                for run in records
                if run.finished and (run.option("dataset"), run.option("prompt")) == (dataset, prompt)
            ]
            rows = _rows(runs[0], split) if runs else None
            if rows is not None:
                panels[dataset, prompt] = rows
    return panels


def _rows(record: RunRecord, split: Part) -> _Rows | None:
    path = record.artifacts.fetch("embeddings.npz")
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if f"{split}_fused" not in arrays:
            return None
        fused, targets = arrays[f"{split}_fused"], arrays[f"{split}_targets"]
        names = arrays["target_names"].tolist()
    kept = stratified(targets, POINTS, seed=0)
    return _Rows(project(fused[kept], seed=0), targets[kept], names)


def _grid(panels: Panels, title: str) -> bytes:
    """Draw the panels, a row a dataset, each with its legend at the right; PNG."""
    import matplotlib.figure

    rows = [dataset for dataset in DATASETS if any(key[0] == dataset for key in panels)]
    side = (PAGE - 2 * MARGIN - LEGEND) / len(PROMPTS)
    with house_style():
        heading = Heading(title, tuple(f"{len(rows.targets):,} rows" for rows in [*panels.values()][:1]))
        top = heading.height(PAGE) + 0.2
        height = top + len(rows) * side + MARGIN
        figure = matplotlib.figure.Figure(figsize=(PAGE, height))
        heading.put(figure)
        for line, dataset in enumerate(rows):
            y = height - top - (line + 1) * side
            for column, prompt in enumerate(PROMPTS):
                x = MARGIN + column * side
                box = (x / PAGE, y / height, 0.96 * side / PAGE, 0.96 * side / height)
                axes = figure.add_axes(box)
                axes.set(xticks=[], yticks=[])
                if (dataset, prompt) in panels:
                    _scatter(axes, panels[dataset, prompt])
                if line == 0:
                    axes.set_title(PROMPTS[prompt], size=8, color=INK)
                if column == 0:
                    axes.set_ylabel(dataset_name(dataset), size=8, color=INK)
            _legend(figure, panels, dataset, (PAGE - MARGIN - LEGEND + 0.05, y + side))
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()


def _scatter(axes: Axes, rows: _Rows) -> None:
    for target in np.unique(rows.targets):
        inside, one = rows.positions[rows.targets == target], mark(int(target))
        axes.scatter(inside[:, 0], inside[:, 1], s=3, c=one.colour, marker=one.marker, linewidths=0)
    axes.margins(0.03)


def _legend(figure: FigureType, panels: Panels, dataset: str, at: tuple[float, float]) -> None:
    """Name the classes; groups take the first colours, as the caption says."""
    width, height = figure.get_size_inches()
    names = next((list(rows.names) for (d, p), rows in panels.items() if d == dataset and p != "grouped"), [])
    groups = [list(rows.names) for (d, p), rows in panels.items() if d == dataset and p == "grouped"]
    lines = [(mark(index), name) for index, name in enumerate(names)]
    lines += [(mark(index), f"{name} (grouped)") for group in groups for index, name in enumerate(group)]
    axes = figure.add_axes((at[0] / width, 0, LEGEND / width, 1))
    axes.set(xlim=(0, LEGEND), ylim=(0, height))
    axes.axis("off")
    for line, (one, name) in enumerate(lines):
        y = at[1] - 0.1 - 0.12 * line
        axes.plot(0.05, y, one.marker, color=one.colour, ms=4, mew=0)
        axes.text(0.14, y, cut(name, 20), size=6, color=INK, va="center_baseline")
