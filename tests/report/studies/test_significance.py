import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fused_clip.report.studies.significance import combined, holm, mcnemar, paired_interval, seed_interval


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


def test_combined_p_values_err_as_often_as_they_say_at_the_worst() -> None:
    """Uniform p-values of which three of five are small together: the worst case of the rule."""
    rng = np.random.default_rng(0)
    small = rng.uniform(0, 3 / 5, size=(4000, 1)) * np.ones((1, 5))
    first = rng.permuted(np.tile([True, True, True, False, False], (4000, 1)), axis=1)
    rows = np.where(first, small, rng.uniform(3 / 5, 1, size=(4000, 5)))
    assert (rows <= 0.5).mean() == pytest.approx(0.5, abs=0.01)
    assert np.mean([combined(row) <= 0.05 for row in rows]) == pytest.approx(0.05, abs=0.01)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def crossed(
    rng: np.random.Generator, *, between_seeds: float, between_images: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences of five seeds on the same 200 images, .1 in the mean, which both are drawn around."""
    means = 0.1 + rng.normal(0, between_seeds, (5, 1)) + rng.normal(0, between_images, (1, 200))
    chance, drawn = np.maximum(0.3, np.abs(means)), rng.uniform(size=means.shape)
    differences = np.where(drawn < (chance + means) / 2, 1.0, np.where(drawn < chance, -1.0, 0.0))
    seeds, images = np.indices(means.shape)
    return differences.ravel(), images.ravel(), seeds.ravel()


@pytest.mark.parametrize(("between_seeds", "between_images"), [(0, 0), (0.08, 0), (0, 0.1), (0.08, 0.1)])
def test_a_paired_interval_covers_the_truth_as_often_as_it_says(
    between_seeds: float, between_images: float
) -> None:
    """Whether images differ or fits do; of images alone it would in two thirds where the fits do."""
    rng, covered = np.random.default_rng(1), 0
    for _ in range(100):
        rows = crossed(rng, between_seeds=between_seeds, between_images=between_images)
        interval = paired_interval(*rows)
        covered += interval.low <= 0.1 <= interval.high
    assert covered >= 90


def test_seeds_that_differ_widen_the_interval() -> None:
    """Seeds at +.2 and -.1, each told apart by its images, are no difference that another seed would show."""
    images = np.tile(np.arange(400), 4)
    means = np.repeat([0.2, -0.1, 0.2, -0.1], 400)
    differences = np.where(images < 400 * np.abs(means), np.sign(means), 0.0)
    apart = paired_interval(differences, images, np.repeat(np.arange(4), 400))
    assert apart.mean == pytest.approx(0.05)
    assert not apart.excludes_zero
    assert apart.high - apart.mean > 2 * np.std([0.2, -0.1, 0.2, -0.1], ddof=1) / 2
    assert paired_interval(differences, images, images % 4).low > 0


def test_rows_of_one_image_are_no_new_evidence() -> None:
    differences = np.random.default_rng(2).choice([-1.0, 0, 1], p=[0.1, 0.7, 0.2], size=200)
    twice, again = (
        paired_interval(np.tile(differences, n), np.tile(np.arange(200), n), np.repeat(np.arange(n), 200))
        for n in (2, 10)
    )
    assert again == pytest.approx(twice)


def test_methods_that_agree_differ_by_nothing() -> None:
    interval = paired_interval(np.zeros(50), np.arange(50), np.arange(50) % 2)
    assert interval == (0, 0, 0)
    assert not interval.excludes_zero


@pytest.mark.parametrize("groups", [(np.arange(50), np.zeros(50)), (np.zeros(50), np.arange(50))])
def test_one_seed_or_one_image_has_no_interval(groups: tuple[np.ndarray, np.ndarray]) -> None:
    interval = paired_interval(np.ones(50), *groups)
    assert interval.mean == 1
    assert math.isnan(interval.low)
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
