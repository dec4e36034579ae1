"""Coverage over 100 draws of calibration images: ``python -m experiments.coverage``.

One model for each data set, backbone and classifier, made from half of a test split; the other half is a pool
that neither the model nor the backbone saw. Writes ``results/coverage.csv`` (every combination) and
``results/summary.csv``.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from experiments.coverage.resplits import Draws, resplit, summary
from experiments.guarantees.kept import measure_all
from experiments.guarantees.models import make
from experiments.guarantees.sets import BACKBONES
from experiments.methods.page import write_rows
from fused_clip.guarantee.conformal import Per

RESULTS = Path(__file__).parent / "results"
# Calibration and new images of a draw: at least 19 calibration images of each target.
DATASETS = {"mnist": (1_000, 1_000), "cifar10": (1_000, 1_000), "cifar100": (3_000, 500)}
CLASSIFIERS = ("constrained_centroid", "zero_shot", "linear_probe", "transclip")
LEVELS = (0.9, 0.95)
PERS: tuple[Per, ...] = ("all", "target")
DRAWS = 100
SUMMARY = (
    "images",
    "backbone",
    "coverage",
    "expected",
    "measured",
    "worst target",
    "mean size",
    "empty",
    "single",
)
FAR = 3.0  # standard errors: of 96 means, one in four studies has one beyond by chance


class Task(NamedTuple):
    """What one process does."""

    dataset: str
    backbone: str
    classifier: str
    output_dir: Path
    draws: int


def measure(task: Task) -> list[dict[str, Any]]:
    """Measure the coverage of a model at every level, over all images and per target.

    Parameters
    ----------
    task : the model.
    """
    made = make(task.dataset, task.backbone, task.classifier, task.output_dir)
    common = {"dataset": task.dataset, "backbone": task.backbone, "classifier": task.classifier}
    lines = []
    for per in PERS:
        for level in LEVELS:
            drawn = Draws(task.draws, *DATASETS[task.dataset], crc32(f"{common}{per}{level}".encode()))
            splits = resplit(made.model, made.pool, level, per, drawn)
            lines.append({**common, "per": per, "level": level, **summary(splits, level, per)})
    return lines


def table(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows of the table, with whether each mean is within `FAR` standard errors of its expectation.

    Parameters
    ----------
    lines : of all tasks.
    """
    return [
        {
            "images": line["dataset"],
            "backbone": line["backbone"],
            "classifier": line["classifier"],
            "coverage": f"{line['level']:g}" + (" per target" if line["per"] == "target" else ""),
            "calibration": str(line["calibration"]),
            "expected": f"{line['expected']:.4f}",
            "measured": f"{line['coverage']:.4f}",
            "sd over draws": f"{line['sd']:.4f}",
            "off by, standard errors": f"{line['z']:+.1f}",
            "within": "yes" if abs(line["z"]) <= FAR else "no",
            "worst target": f"{line['worst_target']:.3f}",
            "mean size": f"{line['size']:.2f}",
            "empty": f"{line['empty']:.3f}",
            "single": f"{line['single']:.3f}",
        }
        for line in lines
    ]


def main() -> None:
    """Measure every combination that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="whose store has embeddings")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    given = parser.parse_args()
    tasks = [
        Task(dataset, backbone, classifier, given.output_dir, given.draws)
        for dataset in DATASETS
        for backbone in BACKBONES
        for classifier in CLASSIFIERS
    ]
    folder = given.output_dir / "coverage" / f"draws-{given.draws}"
    lines = measure_all(measure, tasks, _file_of, folder, given.jobs)
    RESULTS.mkdir(exist_ok=True)
    write_rows(RESULTS / "coverage.csv", table(lines))
    shown = [one for one in lines if one["classifier"] == CLASSIFIERS[0] and one["level"] == LEVELS[0]]
    write_rows(RESULTS / "summary.csv", [{name: row[name] for name in SUMMARY} for row in table(shown)])


def _file_of(task: Task) -> str:
    return f"{task.dataset}-{task.backbone}-{task.classifier}.json"


if __name__ == "__main__":
    main()
