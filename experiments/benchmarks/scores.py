"""Mean silhouette of the groups that rows were drawn from: ours, exact or of a sample, and scikit-learn's."""

from __future__ import annotations

from experiments.benchmarks.measure import Benchmark, Timer
from experiments.benchmarks.mixture import WARM, mixture


def exact(n_rows: int, timer: Timer) -> dict[str, float]:
    """Of all rows, by blocks of float32 products."""
    from fused_clip.metrics.silhouette import silhouette

    rows, group = mixture(n_rows)
    silhouette(rows[:WARM], group[:WARM])
    with timer():
        estimate = silhouette(rows, group, exact_rows=n_rows)
    return {"silhouette": estimate.value}


def sampled(n_rows: int, timer: Timer) -> dict[str, float]:
    """Of a sample of 5,000 rows against all."""
    from fused_clip.metrics.silhouette import silhouette

    rows, group = mixture(n_rows)
    silhouette(rows[:WARM], group[:WARM], exact_rows=0)
    with timer():
        estimate = silhouette(rows, group, exact_rows=0)
    low, high = estimate.interval
    return {"silhouette": estimate.value, "low": low, "high": high}


def scikit_learn(n_rows: int, timer: Timer) -> dict[str, float]:
    """scikit-learn's."""
    from sklearn.metrics import silhouette_score

    rows, group = mixture(n_rows)
    silhouette_score(rows[:WARM], group[:WARM])
    with timer():
        value = silhouette_score(rows, group)
    return {"silhouette": float(value)}


SIZES = (2_000, 6_000, 20_000, 60_000)
BENCHMARKS = (
    Benchmark("silhouette", "fused_clip", exact, SIZES),
    Benchmark("silhouette", "fused_clip, sample", sampled, (20_000, 60_000, 130_000, 300_000)),
    Benchmark("silhouette", "scikit-learn", scikit_learn, SIZES, peer=True),
)
