"""Whether a difference is real: pure functions on arrays."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
LEVEL = 0.95
ALPHA = 0.05


class Interval(NamedTuple):
    """A mean and its confidence interval at 95 %; the bounds are NaN where there is none."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is told apart from none."""
        return self.low > 0 or self.high < 0


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float:
    """Two-sided p-value of McNemar's exact test that two classifiers err equally often.

    Parameters
    ----------
    right_a, right_b : (m,) whether each classifies each of the same test rows rightly.

    Returns
    -------
    In (0, 1]; 1 where they are right on the same rows. McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12 (1947).
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if only_a == only_b:
        return 1.0
    return float(test([[0, only_a], [only_b, 0]], exact=True).pvalue)


def combined(p_values: Sequence[float]) -> float:
    """One p-value for several tests of one hypothesis, whatever data they share.

    ``n / k`` times the k-th smallest of n, k the half of n rounded up (Rueger 1978; Vovk and Wang,
    "Combining p-values via averaging", Biometrika 107, 2020).

    Parameters
    ----------
    p_values : at least one.
    """
    count = len(p_values)
    half = math.ceil(count / 2)
    return min(1.0, sorted(p_values)[half - 1] * count / half)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the whole family by Holm's step-down method (1979); none for none."""
    from statsmodels.stats.multitest import multipletests

    if not len(p_values):
        return []
    return [float(value) for value in multipletests(p_values, method="holm")[1]]


def paired_interval(differences: NDArray[np.float64], images: NDArray[Any], *, seed: int = 0) -> Interval:
    """Bootstrap the mean of paired differences, drawing images with all their rows (percentile interval).

    Parameters
    ----------
    differences : (m,) what is right with one method minus what is right with the other: -1, 0 or 1.
    images : (m,) id or number of the image that each row shows; one may come back, as with several seeds.
    seed : drives the 2,000 draws.
    """
    from scipy.stats import bootstrap

    _, index = np.unique(images, return_inverse=True)
    totals = np.bincount(index, weights=differences)
    counts = np.bincount(index).astype(float)
    mean = float(differences.mean())
    if len(totals) < 2:
        return Interval(mean, math.nan, math.nan)

    def ratio(total: NDArray[np.float64], count: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(total.sum(axis=axis) / count.sum(axis=axis))

    drawn = bootstrap(
        (totals, counts), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=RESAMPLES, batch=100, confidence_level=LEVEL, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(drawn.low), float(drawn.high))


def seed_interval(values: Sequence[float]) -> Interval:
    """Mean over seeds and Student's t interval; without bounds for a single seed.

    Seeds that share images are not independent, so the interval speaks of these images alone.

    Parameters
    ----------
    values : at least one.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)
