"""Whether a difference is real: pure functions on arrays."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fused_clip.support.arrays import Array, BoolArray, DoubleArray

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
        """Whether the difference is told apart from none; never without bounds."""
        return self.low > 0 or self.high < 0


def mcnemar(right_a: BoolArray, right_b: BoolArray) -> float:
    """Two-sided p-value of McNemar's exact test that two classifiers err equally often.

    The classifiers are taken as they are: how they would have come out of another fit is not asked.

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


def paired_interval(
    differences: DoubleArray, images: Array, seeds: Array, *, draws_seed: int = 0
) -> Interval:
    """Mean of paired differences, with an interval for other images and for other seeds.

    Two ways of clustering the rows: images, drawn with all their rows by a bootstrap, give one variance, and
    seeds, whose fits and splits differ, another. Their sum is the variance of the mean (Cameron, Gelbach and
    Miller, "Robust inference with multiway clustering", Journal of Business & Economic Statistics 29, 2011,
    without subtracting what both count, so that it errs to the wide side). Student's t has the degrees of
    freedom of Satterthwaite (1946): a percentile of few seeds resampled would be too narrow.

    Parameters
    ----------
    differences : (m,) what is right with one method minus what is right with the other: -1, 0 or 1.
    images : (m,) id or number of the image that each row shows; one may come back, as with several seeds.
    seeds : (m,) seed of each row's fits; without bounds for a single one.
    draws_seed : drives the 2,000 draws.
    """
    from scipy.stats import t

    by_image, by_seed = _sums(differences, images), _sums(differences, seeds)
    mean = float(differences.mean())
    n_seeds = len(by_seed[0])
    if n_seeds < 2 or len(by_image[0]) < 2:
        return Interval(mean, math.nan, math.nan)
    spread = float(np.var(by_seed[0] / by_seed[1], ddof=1)) / n_seeds
    variance = spread + _bootstrap_error(*by_image, draws_seed) ** 2
    freedom = (n_seeds - 1) * (variance / spread) ** 2 if spread else math.inf
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def _sums(differences: DoubleArray, groups: Array) -> tuple[Array, Array]:
    """Sum and number of the rows of each group."""
    _, index = np.unique(groups, return_inverse=True)
    return np.bincount(index, weights=differences), np.bincount(index)


def _bootstrap_error(totals: Array, counts: Array, seed: int) -> float:
    """Standard error of a mean whose rows are drawn by whole groups.

    Groups of equal total and count are drawn as one, by how many of them come up: the same draws, without
    going through all groups in each.
    """
    kinds, sizes = np.unique(np.stack([totals, counts]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(totals), sizes / len(totals), size=RESAMPLES)
    return float(np.std((drawn @ kinds[0]) / (drawn @ kinds[1]), ddof=1))


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
