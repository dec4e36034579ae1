"""Significance of a difference between two classifiers on the same test rows: pure functions on arrays.

Two questions are asked, and a difference has to pass both. McNemar's test asks whether these fits differ on
other images; the interval also asks whether another seed, which draws splits and drives fits, would agree.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fused_clip.support.arrays import Array, BoolArray, DoubleArray

RESAMPLES = 2_000  # a standard error is then known to 1 / sqrt(2 * 2000) = 1.6 %
LEVEL = 0.95
ALPHA = 0.05


class Interval(NamedTuple):
    """A mean and its confidence interval at 95 %.

    Parameters
    ----------
    mean : of the differences.
    low, high : bounds, NaN where there is no interval.
    """

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; false without bounds."""
        return self.low > 0 or self.high < 0


def mcnemar(right_a: BoolArray, right_b: BoolArray) -> float:
    """Return the two-sided p-value of McNemar's exact test that two fitted classifiers err equally often.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947). Another fit of either classifier is not considered.

    Parameters
    ----------
    right_a, right_b : (m,) whether each classifies each of the same test rows correctly.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    # Rows that both or neither get right carry no information on the difference: only the two discordant
    # counts enter, and under the hypothesis each such row falls to either side with probability 1/2.
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if only_a == only_b:
        return 1.0
    return float(test([[0, only_a], [only_b, 0]], exact=True).pvalue)


def combined(p_values: Sequence[float]) -> float:
    """Combine the p-values of several tests of one hypothesis, whatever data they share.

    ``n / k`` times the k-th smallest of n, k the half of n rounded up (Rueger 1978; Vovk and Wang,
    "Combining p-values via averaging", Biometrika 107, 2020).

    Parameters
    ----------
    p_values : at least one.
    """
    # Not Fisher's or Stouffer's rule: these need independent tests, and seeds share images.
    count = len(p_values)
    half = math.ceil(count / 2)
    return min(1.0, sorted(p_values)[half - 1] * count / half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the whole family by Holm's step-down method.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979), is valid for dependent tests, as these on the same rows are, and rejects more than Bonferroni.

    Parameters
    ----------
    p_values : of all tests; may be empty.
    """
    from statsmodels.stats.multitest import multipletests

    if not len(p_values):
        return []  # multipletests divides by their number
    return [float(value) for value in multipletests(p_values, method="holm")[1]]


def paired_interval(
    differences: DoubleArray, images: Array, seeds: Array, *, draws_seed: int = 0
) -> Interval:
    """Return the mean of paired differences, with an interval for other images and for other seeds.

    Two-way clustered variance: rows are clustered by image, whose variance a bootstrap gives, and by seed
    (Cameron, Gelbach and Miller, "Robust inference with multiway clustering", Journal of Business & Economic
    Statistics 29, 2011). Student's t has the degrees of freedom of Satterthwaite, "An approximate
    distribution of estimates of variance components", Biometrics Bulletin 2 (1946).

    Parameters
    ----------
    differences : (m,) -1, 0 or 1: whether one method is right minus whether the other is.
    images : (m,) id or number of each row's image; the same image may be in several seeds.
    seeds : (m,) seed of each row's fits; the bounds are NaN for a single seed.
    draws_seed : drives the 2,000 draws.
    """
    from scipy.stats import t

    by_image, by_seed = _sums(differences, images), _sums(differences, seeds)
    mean = float(differences.mean())
    n_seeds = len(by_seed[0])
    if n_seeds < 2 or len(by_image[0]) < 2:
        return Interval(mean, math.nan, math.nan)
    # Images alone would give intervals that the next seed leaves, and a percentile of five resampled seeds is
    # too narrow: so both variances are added. The method subtracts that of their intersection, a row: left
    # out, it can't make the sum negative, and the interval is a little too wide instead of too narrow.
    spread = float(np.var(by_seed[0] / by_seed[1], ddof=1)) / n_seeds
    variance = spread + _bootstrap_error(*by_image, draws_seed) ** 2
    # Only the seeds' part is estimated from few values; that of the images counts as known.
    freedom = (n_seeds - 1) * (variance / spread) ** 2 if spread else math.inf
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def _sums(differences: DoubleArray, groups: Array) -> tuple[Array, Array]:
    """Return the sum and the number of the rows of each group."""
    _, index = np.unique(groups, return_inverse=True)
    return np.bincount(index, weights=differences), np.bincount(index)


def _bootstrap_error(totals: Array, counts: Array, seed: int) -> float:
    """Return the standard error of a mean whose rows are drawn by whole groups."""
    # Groups of equal total and count are interchangeable. A multinomial draws how many of each kind come up:
    # the same distribution as drawing images one by one, at the cost of the few kinds.
    kinds, sizes = np.unique(np.stack([totals, counts]), axis=1, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(totals), sizes / len(totals), size=RESAMPLES)
    return float(np.std((drawn @ kinds[0]) / (drawn @ kinds[1]), ddof=1))


def seed_interval(values: Sequence[float]) -> Interval:
    """Return the mean over seeds and Student's t interval; the bounds are NaN for a single seed.

    Seeds that share images are not independent, so the interval is for these images alone.

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
