import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fused_clip.studies.significance import combined, holm, mcnemar, paired_interval, seed_interval


@given(only_a=st.integers(0, 40), only_b=st.integers(0, 40), both=st.integers(0, 5))
def test_mcnemar_is_a_sign_test_of_the_rows_that_only_one_gets_right(
    only_a: int, only_b: int, both: int
) -> None:
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))


def test_combined_p_values_by_hand() -> None:
    assert combined([0.04]) == 0.04
    assert combined([0.5, 0.01, 0.02, 0.03, 0.9]) == pytest.approx(0.03 * 5 / 3)
    assert combined([0.7, 0.01]) == pytest.approx(0.02)
    assert combined([0.9, 0.8, 0.7]) == 1


def test_combined_p_values_err_no_more_often_than_they_say() -> None:
    """Uniform p-values that depend on each other as much as they can, and not at all."""
    rng = np.random.default_rng(0)
    apart = rng.uniform(size=(4000, 5))
    for rows in (apart, np.repeat(apart[:, :1], 5, axis=1)):
        assert np.mean([combined(row) <= 0.05 for row in rows]) <= 0.05 + 0.01


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(60):
        differences = rng.choice([-1.0, 0, 1], p=[0.1, 0.7, 0.2], size=300)
        interval = paired_interval(differences, np.arange(300), seed=trial)
        covered += interval.low <= 0.1 <= interval.high
    assert covered >= 51


def test_rows_of_one_image_are_no_new_evidence() -> None:
    differences = np.random.default_rng(2).choice([-1.0, 0, 1], p=[0.1, 0.7, 0.2], size=200)
    once = paired_interval(differences, np.arange(200))
    again = paired_interval(np.tile(differences, 5), np.tile(np.arange(200), 5))
    assert again == pytest.approx(once)


def test_methods_that_agree_differ_by_nothing() -> None:
    interval = paired_interval(np.zeros(50), np.arange(50))
    assert interval == (0, 0, 0)
    assert not interval.excludes_zero


def test_an_interval_over_seeds_is_students() -> None:
    interval = seed_interval([0.1, 0.2, 0.3])
    assert interval.mean == pytest.approx(0.2)
    assert interval.high - interval.mean == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert not interval.excludes_zero
    assert seed_interval([0.3, 0.3]).excludes_zero


def test_one_seed_has_no_interval() -> None:
    assert math.isnan(seed_interval([0.3]).low)
    assert not seed_interval([0.3]).excludes_zero
