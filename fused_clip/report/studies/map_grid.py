"""The paper's Figures 2 and 3 as one grid each: t-SNE of the fused rows, strategies side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fused_clip.figures.projection import project
from fused_clip.figures.style import INK, MARGIN, PAGE, Heading, cut, house_style, mark
from fused_clip.model.result import Result, SplitResult
from fused_clip.report.chart import png_of
from fused_clip.report.page import Block, Figure, Prose
from fused_clip.report.studies.settings import dataset_name, values
from fused_clip.report.summary import group_by
from fused_clip.runner.artifacts import read
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.sampling import stratified_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as FigureType

    from fused_clip.tracking.records import RunRecord

log = logging.getLogger(__name__)
POINTS = 1_000  # rows a panel
PROMPTS = {"none": "image only", "task": "task", "swapped": "swapped", "grouped": "grouped"}
MOST_DATASETS = 3  # more would be smaller than the eye can read
LEFT, LEGEND = 0.25, 1.1  # inches of a row's width


def strategy_maps(records: Sequence[RunRecord], setting: str) -> list[Block]:
    """Draw both grids: rows are datasets, columns strategies; colour is the true class or group.

    Shown are the first finished runs of the first three datasets whose files are on this machine.

    Parameters
    ----------
    records : runs of the paper's table.
    setting : backbone and data, for the captions.
    """
    results = _results(records)
    if not results:
        return [Prose("No maps: the runs' directories or embeddings are not on this machine.")]
    figures: list[Block] = []
    for split, number, won in (("train", 2, ""), ("test", 3, "each fused with its predicted prompt, ")):
        panels = {key: _place(getattr(result, split), result) for key, result in results.items()}
        caption = (
            f"As the paper's Figure {number}: t-SNE of the fused {split} rows, {won}coloured by true class, "
            f"under grouped by true group. {setting}"
        )
        figures.append(Figure(caption, _grid(panels, f"Fused {split} rows", setting)))
    return figures


class _PanelRows(NamedTuple):
    """(m, 2) positions of a panel's rows and their (m,) target, with the targets' names."""

    positions: DoubleArray
    targets: IntArray
    names: Sequence[str]


Panels = Mapping[tuple[str, ...], _PanelRows]


def _results(records: Sequence[RunRecord]) -> dict[tuple[str, ...], Result]:
    runs = group_by([record for record in records if record.finished], ["dataset", "prompt"])
    cells = [
        (dataset, prompt) for dataset in values(records, "dataset")[:MOST_DATASETS] for prompt in PROMPTS
    ]
    found = {cell: _read_back(runs[cell][0]) for cell in cells if cell in runs}
    return {cell: result for cell, result in found.items() if result is not None}


def _read_back(record: RunRecord) -> Result | None:
    directory = Path(record.tags.get("directory", ""))
    stores = [parent / "store" for parent in directory.parents if (parent / "store").is_dir()]
    try:
        return read(directory, stores[0]) if stores else None
    except FileNotFoundError:
        return None
    except InputError as error:
        log.warning("No map of run %s: %s", record.run_id, error)
        return None


def _place(part: SplitResult, result: Result) -> _PanelRows:
    kept = stratified_sample(part.targets, POINTS, seed=0)
    return _PanelRows(project(part.fused[kept], seed=0), part.targets[kept], result.target_names)


def _grid(panels: Panels, title: str, setting: str) -> bytes:
    """Draw the panels, a row a dataset, each row with its legend at the right; PNG."""
    import matplotlib.figure

    rows = list(dict.fromkeys(dataset for dataset, _ in panels))
    side = (PAGE - LEFT - MARGIN - LEGEND) / len(PROMPTS)
    with house_style():
        drawn = f"one run a panel, up to {POINTS:,} of its rows, stratified"
        heading = Heading(title, (drawn, *setting.split("; ")))
        top = heading.height(PAGE) + 0.2
        height = top + len(rows) * side + MARGIN
        figure = matplotlib.figure.Figure(figsize=(PAGE, height))
        heading.put(figure)
        for line, dataset in enumerate(rows):
            y = height - top - (line + 1) * side
            for column, prompt in enumerate(PROMPTS):
                box = (LEFT + column * side) / PAGE, y / height, 0.96 * side / PAGE, 0.96 * side / height
                axes = figure.add_axes(box, xticks=[], yticks=[])
                if (dataset, prompt) in panels:
                    _scatter(axes, panels[dataset, prompt])
                if line == 0:
                    axes.set_title(PROMPTS[prompt], size=8, color=INK)
                if column == 0:
                    axes.set_ylabel(dataset_name(dataset), size=8, color=INK)
            _legend(figure, panels, dataset, (PAGE - MARGIN - LEGEND + 0.05, y + side))
        return png_of(figure)


def _scatter(axes: Axes, rows: _PanelRows) -> None:
    for target in np.unique(rows.targets):
        inside, one = rows.positions[rows.targets == target], mark(int(target))
        axes.scatter(inside[:, 0], inside[:, 1], s=3, c=one.colour, marker=one.marker, linewidths=0)
    axes.margins(0.03)


def _legend(figure: FigureType, panels: Panels, dataset: str, at: tuple[float, float]) -> None:
    """Name the classes; groups take the first colours, as the caption says."""
    width, height = figure.get_size_inches()
    names = next((rows.names for (d, p), rows in panels.items() if d == dataset and p != "grouped"), ())
    groups = [
        f"{name} (grouped)" for rows in [panels.get((dataset, "grouped"))] if rows for name in rows.names
    ]
    lines = [(mark(index), name) for some in (names, groups) for index, name in enumerate(some)]
    axes = figure.add_axes((at[0] / width, 0, LEGEND / width, 1))
    axes.set(xlim=(0, LEGEND), ylim=(0, height))
    axes.axis("off")
    for line, (one, name) in enumerate(lines):
        y = at[1] - 0.1 - 0.12 * line
        axes.plot(0.05, y, one.marker, color=one.colour, ms=4, mew=0)
        axes.text(0.14, y, cut(name, 20), size=6, color=INK, va="center_baseline")
