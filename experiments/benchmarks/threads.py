"""One thread compared with all, for the small linear algebra of a cell, on a quiet and on a busy machine.

Each operation is timed in turn with one thread and with all, first on the machine as it is and then while one
other process a core computes. Facts: milliseconds of the four (medians), and the ratio of all threads to one:
above 1, one thread is faster.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import GROUPS, SEED, mixture

WIDTH = 256  # of the compact backbone
REPEATS, ENOUGH = 5, 12.0  # pairs of runs; after as many seconds no other begins
Work = Callable[[NDArray[np.float32], NDArray[np.int64]], object]


def k_means(rows: Any, group: Any) -> object:
    """Cluster."""
    from sklearn.cluster import KMeans

    return KMeans(GROUPS, n_init=1, random_state=SEED).fit(rows)


def spectral(rows: Any, group: Any) -> object:
    """Cluster on the graph of neighbours."""
    from fused_clip.method.clusterer import SpectralClustering

    return SpectralClustering(GROUPS, random_state=SEED).fit(rows)


def logistic(rows: Any, group: Any) -> object:
    """Fit a linear probe by L-BFGS, 50 steps at most."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=50).fit(rows.astype(np.float64), group)


def distances(rows: Any, group: Any) -> object:
    """Distances to the centres."""
    from sklearn.metrics import pairwise_distances

    return pairwise_distances(rows, rows[:GROUPS])


def silhouette(rows: Any, group: Any) -> object:
    """Mean silhouette."""
    from fused_clip.metrics.silhouette import silhouette as score

    return score(rows, group)


def temperature(rows: Any, group: Any) -> object:
    """Fit the temperature of a softmax of distances."""
    from fused_clip.model.calibration import fit_temperature

    apart = distances(rows, group)
    return fit_temperature(np.asarray(apart, dtype=np.float64), group)


def t_sne(rows: Any, group: Any) -> object:
    """Draw a map."""
    from fused_clip.figures.projection import project

    return project(rows, seed=SEED)


def compare(n_rows: int, timer: Timer, work: Work) -> dict[str, float]:
    """Time the work with one thread and with all, in turn."""
    rows, group = mixture(n_rows)
    rows = np.ascontiguousarray(rows[:, :WIDTH])
    work(rows[:400], group[:400])
    facts = {}
    with timer():
        for name, load in (("as it is", nullcontext), ("busy", busy)):
            with load():
                one, every = in_turn(partial(work, rows, group))
            facts[f"{name}: one, ms"] = 1e3 * one
            facts[f"{name}: all, ms"] = 1e3 * every
            facts[f"{name}: all / one"] = every / one
    return facts


def in_turn(work: Callable[[], object]) -> tuple[float, float]:
    """Median seconds with one thread, and with all."""
    taken: dict[int | None, list[float]] = {1: [], None: []}
    began = time.perf_counter()
    while len(taken[None]) < REPEATS and time.perf_counter() < began + ENOUGH:
        for limit, seconds in taken.items():
            with threadpool_limits(limit):
                start = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - start)
    return median(taken[1]), median(taken[None])


@contextmanager
def busy() -> Iterator[None]:
    """Keep every core busy with another process."""
    command = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]  # noqa: S603
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


SIZES = (500, 2_000, 5_000, 20_000)
BENCHMARKS = tuple(
    Benchmark("threads", name, partial(compare, work=work), tuple(size for size in SIZES if size <= largest))
    for name, work, largest in (
        ("k-means", k_means, 20_000),
        ("spectral", spectral, 20_000),
        ("logistic regression", logistic, 20_000),
        ("distances", distances, 20_000),
        ("silhouette", silhouette, 5_000),
        ("temperature", temperature, 20_000),
        ("t-SNE", t_sne, 2_000),
    )
)
