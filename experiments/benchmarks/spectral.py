"""Spectral clustering on 10 neighbours, mostly in 20 clusters: ours by either graph, and scikit-learn's."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import (
    GROUPS,
    WARM,
    digits_with_noise,
    mixture,
    write_mixture,
)

NEIGHBORS, SEED, DRAWS = 10, 0, 5
Draw = Callable[..., tuple[Any, Any]]


def fused_clip(n_rows: int, timer: Timer, *, approximate: bool) -> dict[str, float]:
    """Ours; facts: ARI to the groups that the rows were drawn from, components of the graph."""
    from fused_clip.method.clusterer import SpectralClustering

    rows, group = mixture(n_rows)
    model = SpectralClustering(GROUPS, n_neighbors=NEIGHBORS, approximate=approximate, random_state=SEED)
    model.fit(rows[:WARM])
    with timer():
        model.fit(rows)
    return {"ARI to groups": _agreement(group, model.labels_), "components": model.n_connected_components_}


def scikit_learn(n_rows: int, timer: Timer) -> dict[str, float]:
    """scikit-learn's, all cores."""
    from sklearn.cluster import SpectralClustering

    rows, group = mixture(n_rows)
    model = SpectralClustering(
        GROUPS, affinity="nearest_neighbors", n_neighbors=NEIGHBORS, random_state=SEED, n_jobs=-1
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        model.fit(rows[:WARM])
        with timer():
            model.fit(rows)
    return {"ARI to groups": _agreement(group, model.labels_)}


def graphs(n_rows: int, timer: Timer, *, draw: Draw, more: int = 1) -> dict[str, float]:
    """How much the approximate graph and its partition agree with the exact ones, in five draws.

    There are as many clusters as groups were drawn, or `more` times as many.
    Facts: least and median ARI between the two partitions; the least share of the exact graph's edges that
    the approximate one has, and the share that it states.
    """
    from fused_clip.method.clusterer import SpectralClustering

    facts: dict[str, list[float]] = defaultdict(list)
    with timer():
        for seed in range(DRAWS):
            rows, group = draw(n_rows, seed=seed)
            clusters = more * len(np.unique(group))
            exact, approximate = (
                SpectralClustering(
                    clusters, n_neighbors=NEIGHBORS, approximate=choice, random_state=SEED
                ).fit(rows)
                for choice in (False, True)
            )
            edges = exact.affinity_matrix_ > 0
            found = edges.multiply(approximate.affinity_matrix_ > 0)
            facts["edges found"].append(found.nnz / edges.nnz)
            facts["stated"].append(approximate.graph_recall_)
            facts["ARI to exact"].append(_agreement(exact.labels_, approximate.labels_))
    least = {f"least {name}": min(values) for name, values in facts.items()}
    return {"median ARI to exact": median(facts["ARI to exact"]), **least}


def mapped(n_rows: int, timer: Timer) -> dict[str, float]:
    """Ours on rows in a memory-mapped file, which is written first; facts as of `fused_clip`."""
    from fused_clip.method.clusterer import SpectralClustering

    with TemporaryDirectory() as folder:
        file = Path(folder, "rows.npy")
        group = write_mixture(file, n_rows)
        model = SpectralClustering(GROUPS, n_neighbors=NEIGHBORS, approximate=True, random_state=SEED)
        model.fit(mixture(WARM)[0])
        with timer():
            model.fit(np.load(file, mmap_mode="r"))
    return {
        "ARI to groups": _agreement(group, model.labels_),
        "components": model.n_connected_components_,
        "stated recall": model.graph_recall_,
    }


def _agreement(one: Any, other: Any) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


# Overlapping: the exact partition has an ARI of .94 to the groups.
DRAWN: dict[str, Draw] = {
    "easy": partial(mixture, spread=1.0),
    "medium": mixture,
    "overlapping": partial(mixture, spread=2.0),
    "imbalanced 1:100": partial(mixture, ratio=100),
    "digits with noise": digits_with_noise,
}
SIZES = (2_000, 6_000, 20_000, 60_000)
BENCHMARKS = (
    Benchmark("spectral", "fused_clip, exact graph", partial(fused_clip, approximate=False), SIZES),
    Benchmark(
        "spectral",
        "fused_clip, approximate graph",
        partial(fused_clip, approximate=True),
        (20_000, 60_000, 130_000, 300_000, 1_000_000),
    ),
    Benchmark("spectral", "scikit-learn", scikit_learn, SIZES, peer=True),
    Benchmark("spectral", "fused_clip, memory map", mapped, (1_000_000, 10_000_000)),
    *(
        Benchmark("agreement of graphs", name, partial(graphs, draw=draw), (100_000,))
        for name, draw in DRAWN.items()
    ),
    Benchmark(
        "agreement of graphs",
        "digits with noise, 20 clusters",
        partial(graphs, draw=digits_with_noise, more=2),
        (100_000,),
    ),
)
