"""What was measured of the shipped model: a record, and the tables that documents show."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import median
from typing import Any

from fused_clip.report.markdown import table_lines
from fused_clip.support.files import write_atomic

AIMS = {
    "mnist": 0.993,
    "mnist even/odd": 0.97,
    "cifar10": 0.86,
    "cifar10 vehicle/animal": 0.96,
    "cifar100": 0.53,
}
RECORD = "evaluation.json"
Table = list[list[str]]


def tables(figures: dict[str, Any]) -> dict[str, Table]:
    """Return the tables of what `evaluate` returned, by the names of their files; headers first."""
    accuracy, held_out = figures["accuracy"], figures["held_out"]
    aimed = [
        [name, _percent(aim, 1), _percent(held_out.get(name), 1), _percent(accuracy[name], 2)]
        for name, aim in AIMS.items()
    ]
    subsets = [[name, _percent(value, 2)] for name, value in accuracy.items() if name not in AIMS]
    machine = "{processor}, {threads} of {cores} cores".format_map(figures["environment"])
    speed = [
        ["seconds to load, imports left out", "below 1", *_spread(figures["load_seconds"], 2), machine],
        ["images a second in bf16", "at least 1000", *_spread(figures["images_per_second"], 0), machine],
    ]
    return {
        "zero_shot.csv": [["zero-shot, paper's prompts", "aim, %", "held out, %", "test, %"], *aimed],
        "subsets.csv": [["zero-shot, paper's prompts", "test, %"], *subsets],
        "speed.csv": [["speed", "aim", "median", "range", "runs", "machine"], *speed],
    }


def text(figures: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    return "\n\n".join(table_lines(header, rows, set()) for header, *rows in tables(figures).values())


def write(figures: dict[str, Any], folder: Path) -> None:
    """Write the record and its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / RECORD, (json.dumps(figures, indent=1) + "\n").encode())
    for name, rows in tables(figures).items():
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows)
        write_atomic(folder / name, file.getvalue().encode())


def _percent(share: float | None, digits: int) -> str:
    return "" if share is None else f"{100 * share:.{digits}f}"


def _spread(values: list[float], digits: int) -> list[str]:
    """Return median, range and number of what was measured several times."""
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return [middle, f"{low} to {high}", str(len(values))]
