"""Spectral clustering in 20 clusters, on 10 neighbours: ours by either graph, and scikit-learn's."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import GROUPS, WARM, mixture

NEIGHBORS, SEED = 10, 0


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


def graphs(n_rows: int, timer: Timer) -> dict[str, float]:
    """How much the approximate graph and its partition agree with the exact ones.

    Facts: share of the exact graph's edges found, ARI between the two partitions, and as a yardstick ARI
    between two partitions by the exact graph of different seeds.
    """
    from fused_clip.method.clusterer import SpectralClustering

    rows, _ = mixture(n_rows)
    with timer():
        exact, again, approximate = (
            SpectralClustering(GROUPS, n_neighbors=NEIGHBORS, approximate=choice, random_state=seed).fit(rows)
            for choice, seed in ((False, SEED), (False, SEED + 1), (True, SEED))
        )
    edges = exact.affinity_matrix_ > 0
    found = edges.multiply(approximate.affinity_matrix_ > 0)
    return {
        "edges found": found.nnz / edges.nnz,
        "ARI approximate to exact": _agreement(exact.labels_, approximate.labels_),
        "ARI exact, two seeds": _agreement(exact.labels_, again.labels_),
    }


def _agreement(one: Any, other: Any) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


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
    Benchmark("agreement", "approximate and exact graph", graphs, (20_000, 60_000)),
)
