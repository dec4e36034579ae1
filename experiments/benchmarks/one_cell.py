"""One whole cell of vectors in a file: spectral clustering, all references, figures and MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from experiments.benchmarks.commands import run
from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import GROUPS, write_mixture

OPTIONS = (
    "dataset=embeddings",
    "dataset.path=vectors.npy",
    "dataset.labels_path=labels.npz",
)
CLASSES = np.array([f"class {number}" for number in range(GROUPS)])


def cell(n_rows: int, timer: Timer) -> dict[str, float]:
    """A run in a new process, as the command line starts it, of which a fifth of the rows are test rows.

    The vector of a class' prompt is the mean of its first thousand rows. Fact: the accuracy.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        groups = write_mixture(folder / "vectors.npy", n_rows)
        rows = np.load(folder / "vectors.npy", mmap_mode="r")
        np.savez(
            folder / "labels.npz",
            labels=CLASSES[groups],
            text_vectors=[rows[np.flatnonzero(groups == group)[:1000]].mean(0) for group in range(GROUPS)],
            text_labels=[f"This is a {one}" for one in CLASSES],
        )
        with timer():
            run(folder, *OPTIONS, "hydra.run.dir=outputs/run")
        metrics = json.loads((folder / "outputs" / "run" / "metrics.json").read_text())
    return {"test accuracy": metrics["test/accuracy"]}


BENCHMARKS = (Benchmark("one cell of vectors", "fused_clip", cell, (100_000, 1_000_000)),)
