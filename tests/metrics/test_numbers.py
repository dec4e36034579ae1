import math

import pytest

from fused_clip.metrics.catalogue import METRICS
from fused_clip.metrics.numbers import mean_and_deviation, number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.84222, 4, ".8422"),
        (-0.001, 4, "-.0010"),
        (1, 4, "1.0000"),
        (-0.00001, 4, ".0000"),
        (12.34, 1, "12.3"),
        (3, 0, "3"),
        (math.nan, 4, "-"),
    ],
)
def test_a_number_has_fixed_decimals(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([0.8391, 0.8453], 4, ".8422 ± .0044"),
        ([0.5], 4, ".5000"),
        ([], 4, "-"),
        ([1, 0, 1, 0, 0], 0, ".4 ± .5"),
        ([2, 2, 2], 0, "2 ± 0"),
        ([1] + [0] * 199, 0, ".01 ± .07"),
        ([10, 30], 0, "20.0 ± 14.1"),
        ([0.5, math.nan], 4, "-"),
    ],
)
def test_a_mean_stands_with_its_deviation(values: list[float], digits: int, text: str) -> None:
    assert mean_and_deviation(values, digits) == text


def test_every_metric_is_named_once() -> None:
    titles = [facts.title for facts in METRICS.values()]
    assert len(set(titles)) == len(titles)
    assert all(name == facts.name for name, facts in METRICS.items())
