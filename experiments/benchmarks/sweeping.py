"""A sweep of cells whose embeddings are stored: side by side, and one after the other."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from experiments.benchmarks import commands
from experiments.benchmarks.measure import Benchmark, Timer

PROMPTS = ("task", "none", "grouped", "swapped")
COMMON = ("dataset=mnist_5k", "tracking=mlflow")


def sweep(cells: int, timer: Timer, options: tuple[str, ...]) -> dict[str, float]:
    """Run four prompt strategies for some seeds, `cells` in all, a multiple of four."""
    prompts, seeds = ",".join(PROMPTS), ",".join(map(str, range(cells // len(PROMPTS))))
    with TemporaryDirectory() as folder:
        # Other cells first, with the same images and texts.
        bare = ("clusterer=kmeans", "figures.enabled=false", "references.enabled=false")
        commands.sweep(folder, *COMMON, f"prompt={prompts}", *bare)
        with timer():
            commands.sweep(folder, *COMMON, f"prompt={prompts}", f"seed={seeds}", *options)
        drawing = [
            json.loads(file.read_text()) for file in Path(folder).glob("outputs/sweeps/*/*/*/timings.json")
        ]
    seconds = [taken["seconds/figures"] for taken in drawing if "seconds/figures" in taken]
    return {"cells_per_minute": 60 * cells / timer.seconds, "figures_seconds_a_cell": median(seconds)}


BENCHMARKS = (
    Benchmark(
        "sweep of stored cells", "side by side", partial(sweep, options=("hydra/launcher=joblib",)), (8,)
    ),
    Benchmark("sweep of stored cells", "one by one", partial(sweep, options=()), (8,), peer=True),
)
