"""Intervals around numbers that were estimated from a few samples."""

from collections.abc import Sequence

import numpy as np


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval for one more value of the same distribution, taken as normal.

    ``mean +- t s sqrt(1 + 1 / n)``, with t of n - 1 degrees of freedom (Hahn and Meeker, "Statistical
    Intervals", 1991, section 4.7). It is an interval for a single fit, not for the mean of many: two fits of
    k-means differ even on the same rows.

    Parameters
    ----------
    values : n >= 2 values.
    """
    from scipy.special import stdtrit

    count = len(values)
    reach = float(stdtrit(count - 1, 0.975) * np.std(values, ddof=1) * np.sqrt(1 + 1 / count))
    middle = float(np.mean(values))
    return middle - reach, middle + reach
