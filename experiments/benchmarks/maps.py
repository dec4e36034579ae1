"""A t-SNE map as a figure shows it: openTSNE by our settings, and scikit-learn's by its own."""

from __future__ import annotations

from typing import Any

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import SEED, WARM, mixture

NEIGHBORS = 30


def fused_clip(n_rows: int, timer: Timer) -> dict[str, float]:
    """Ours."""
    from fused_clip.figures.projection import project

    rows, _ = mixture(n_rows)
    project(rows[:WARM], seed=SEED)
    with timer():
        positions = project(rows, seed=SEED)
    return _trust(rows, positions)


def scikit_learn(n_rows: int, timer: Timer) -> dict[str, float]:
    """scikit-learn's defaults, all cores."""
    from sklearn.manifold import TSNE

    rows, _ = mixture(n_rows)
    model = TSNE(random_state=SEED, n_jobs=-1)
    model.fit_transform(rows[:WARM])
    with timer():
        positions = model.fit_transform(rows)
    return _trust(rows, positions)


def _trust(rows: Any, positions: Any) -> dict[str, float]:
    """Trustworthiness (Venna and Kaski 2001): how many neighbours on the map are neighbours, at most 1."""
    from sklearn.manifold import trustworthiness

    return {"trustworthiness": float(trustworthiness(rows, positions, n_neighbors=NEIGHBORS))}


SIZES = (500, 1_000, 2_000, 5_000)
BENCHMARKS = (
    Benchmark("t-SNE", "fused_clip", fused_clip, SIZES),
    Benchmark("t-SNE", "scikit-learn", scikit_learn, SIZES, peer=True),
)
