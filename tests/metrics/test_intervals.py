import numpy as np
import pytest
from scipy import stats

from fused_clip.metrics.intervals import prediction_interval


def test_it_is_the_textbooks() -> None:
    low, high = prediction_interval([1.0, 2.0, 4.0])
    spread = np.std([1, 2, 4], ddof=1) * np.sqrt(4 / 3)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, loc=7 / 3, scale=spread))


def test_it_holds_the_next_value_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(size=(2000, 6))
    ends = np.array([prediction_interval(draw[:5].tolist()) for draw in draws])
    held = ((ends[:, 0] <= draws[:, 5]) & (draws[:, 5] <= ends[:, 1])).mean()
    assert 0.935 <= held <= 0.965  # three standard errors


def test_equal_values_leave_no_doubt() -> None:
    assert prediction_interval([0.5, 0.5]) == (0.5, 0.5)
