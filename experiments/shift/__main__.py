"""How often shift withdraws a guarantee, and the coverage that was left: ``python -m experiments.shift``.

The default model of half of a test split; calibration and new images are of the other half, drawn anew each
time. Options name the files of `experiments.guarantees.sets.Places`. Writes ``results/shift.csv``.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from experiments.coverage.resplits import guaranteed
from experiments.guarantees.kept import measure_all
from experiments.guarantees.models import make
from experiments.guarantees.sets import BACKBONES, Places, Pool, add_places, places_of
from experiments.methods.page import write_rows
from experiments.shift.kinds import NONE, kinds, shifted
from fused_clip.guarantee.shift import shift_test

RESULTS = Path(__file__).parent / "results"
DATASETS = ("mnist", "cifar10")
SIZES = (10, 30, 100, 300)
CALIBRATION, COVERAGE = 1_000, 0.9
DRAWS, MORE_DRAWS = 20, 100  # with a shift, and without one, where few tests may reject
COVERED_DRAWS = 20


class Task(NamedTuple):
    """What one process does: all tests of one shift."""

    dataset: str
    backbone: str
    kind: str
    places: Places


def file_of(task: Task) -> str:
    """Name the file of a task's measurements.

    Parameters
    ----------
    task : the shift.
    """
    return f"{task.dataset}-{task.backbone}-{task.kind}.json".replace(" ", "-")


def measure(task: Task) -> list[dict[str, Any]]:
    """Count withdrawals for each number of images, and the coverage of sets that are given all the same.

    Parameters
    ----------
    task : the shift.
    """
    made = make(task.dataset, task.backbone, "constrained_centroid", task.places.output_dir)
    known, new, with_targets = shifted(task.kind, made, task.backbone, task.places)
    rng = np.random.default_rng(crc32(file_of(task).encode()))
    line: dict[str, Any] = {"dataset": task.dataset, "backbone": task.backbone, "kind": task.kind}
    line["draws"] = MORE_DRAWS if task.kind == NONE else DRAWS
    for size in SIZES:
        tests = [
            shift_test(calibration.rows, images.rows, power=False)
            for calibration, images in _drawn(known, new, size, line["draws"], rng)
        ]
        line[f"withdrawn {size}"] = sum(test.withdrawn for test in tests)
    for per in ("all", "target") if with_targets else ():
        hits = [
            np.asarray(guaranteed(made.model, calibration, COVERAGE, per).answer(images.rows).sets)[
                np.arange(len(images.labels)), images.labels
            ].mean()
            for calibration, images in _drawn(known, new, CALIBRATION, COVERED_DRAWS, rng)
        ]
        line[f"coverage {per}"] = [float(np.mean(hits)), float(np.std(hits, ddof=1))]
    return [line]


def _drawn(
    known: Pool, new: Pool, size: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[Pool, Pool]]:
    """Yield calibration images and new ones; of one pool, no image is both."""
    for _ in range(count):
        order = rng.permutation(len(known.rows))
        other = order[CALIBRATION:] if new is known else rng.permutation(len(new.rows))
        yield known.take(order[:CALIBRATION]), new.take(other[:size])


def table(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows of the table: tests that withdrew by number of images, and coverage without withdrawal.

    Parameters
    ----------
    lines : of all tasks.
    """
    rows = []
    for line in lines:
        covered = {
            title: "no target is true" if key not in line else f"{line[key][0]:.3f} ± {line[key][1]:.3f}"
            for title, key in (("coverage of .9", "coverage all"), (".9 per target", "coverage target"))
        }
        withdrawn = {f"{size} images": f"{line[f'withdrawn {size}']} of {line['draws']}" for size in SIZES}
        rows.append(
            {"model": line["dataset"], "backbone": line["backbone"], "shift": line["kind"]}
            | withdrawn
            | covered
        )
    return rows


def main() -> None:
    """Measure every shift."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_places(parser)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    given = parser.parse_args()
    places = places_of(given)
    tasks = [
        Task(dataset, backbone, kind, places)
        for dataset in DATASETS
        for backbone in BACKBONES
        for kind in kinds(dataset)
    ]
    lines = measure_all(measure, tasks, file_of, given.output_dir / "guarantees" / "shift", given.jobs)
    RESULTS.mkdir(exist_ok=True)
    write_rows(RESULTS / "shift.csv", table(lines))


if __name__ == "__main__":
    main()
