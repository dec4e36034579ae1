"""Numbers as tables show them, in the terminal and in reports."""

import math
import statistics
from collections.abc import Sequence


def number(value: float, digits: int = 4) -> str:
    """Format a number without the zero before the point: .8422, -.0010, 1.0000.

    Parameters
    ----------
    value : the number; ``-`` stands for one that is not finite.
    digits : decimals.
    """
    if not math.isfinite(value):
        return "-"
    text = f"{round(value, digits) + 0:.{digits}f}"  # + 0 turns -0 into 0
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def mean_and_deviation(values: Sequence[float], digits: int = 4) -> str:
    """Format the mean and the sample standard deviation (n - 1): ``.8422 ± .0031``.

    A single value stands alone; without values the text is ``-``.

    Parameters
    ----------
    values : of several runs.
    digits : decimals of the values. Counts (``digits=0``) that differ get as many as their deviation
        needs: 1, 0, 1, 0, 0 is ``.4 ± .5``.
    """
    if not values:
        return "-"
    mean = statistics.fmean(values)
    if len(values) == 1 or not math.isfinite(mean):
        return number(mean, digits)
    deviation = statistics.stdev(values)
    if digits == 0 and deviation > 0:
        digits = max(1, -math.floor(math.log10(deviation)))
    return f"{number(mean, digits)} ± {number(deviation, digits)}"
