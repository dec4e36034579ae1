"""Settings of classifiers: their ranges."""

from numbers import Integral, Real

import numpy as np

from fused_clip.support.errors import InputError


def check_number(name: str, value: object, *, low: float, high: float = np.inf) -> None:
    """Check that a setting is a number in a range.

    Parameters
    ----------
    name : of the setting.
    value : to check.
    low : smallest allowed value.
    high : largest allowed value.

    Raises
    ------
    InputError
        If it is not.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not low <= float(value) <= high or not np.isfinite(float(value)):  # type: ignore[arg-type]
        upper = "" if np.isinf(high) else f" and at most {high:g}"
        raise InputError(f"classifier.{name}", f"must be a number, at least {low:g}{upper}", value)


def check_count(name: str, value: object, *, low: int = 1) -> None:
    """Check that a setting is a whole number that is large enough.

    Parameters
    ----------
    name : of the setting.
    value : to check.
    low : smallest allowed value.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise InputError(f"classifier.{name}", f"must be a whole number, at least {low}", value)
