import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_1samp

from fused_clip.report.studies.significance import (
    Difference,
    Estimate,
    holm,
    mcnemar,
    paired_estimate,
    seed_estimate,
)


@given(only_a=st.integers(0, 40), only_b=st.integers(0, 40), both=st.integers(0, 5))
def test_mcnemar_is_a_sign_test_of_the_rows_that_only_one_gets_right(
    only_a: int, only_b: int, both: int
) -> None:
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def differences(
    rng: np.random.Generator,
    pools: int,
    images: int,
    *,
    seeds: int = 5,
    image: float = 0.0,
    seed: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.0,
    ahead: float = 0.05,
    halves: bool = False,
) -> tuple[np.ndarray, float]:
    """Differences of two classifiers in some seeds on each of several pools of images, and their true mean.

    A classifier is right where the sum of normal scores is positive: of the image, for both and for each of
    them, of the seed, and of the image in this seed. The true accuracies follow from the normal distribution.
    """
    shape = (pools, seeds, images)
    both = rng.standard_normal((pools, 1, images))
    right, accuracies = [], []
    for mean, of_seed in zip((1 + ahead, 1.0), seed, strict=True):
        scores = mean + both + image * rng.standard_normal((pools, 1, images))
        scores = scores + of_seed * rng.standard_normal((pools, seeds, 1))
        scores = scores + noise * rng.standard_normal(shape)
        right.append(scores > 0)
        accuracies.append(norm.cdf(mean / math.sqrt(1 + image**2 + of_seed**2 + noise**2)))
    made = right[0].astype(float) - right[1]
    if halves:
        order = rng.random(shape)
        made[order > np.median(order, axis=2, keepdims=True)] = np.nan
    return made, accuracies[0] - accuracies[1]


DESIGNS = {
    "images alone": {"image": 0.3},
    "noise alone": {"noise": 0.3},
    "images and noise": {"image": 0.2, "noise": 0.25},
    "seeds, too": {"image": 0.3, "noise": 0.2, "seed": (0.06, 0.0)},
    "mostly seeds": {"image": 0.3, "noise": 0.2, "seed": (0.3, 0.1)},
    "few rows differ": {"image": 0.03, "noise": 0.02},
}


@pytest.mark.slow
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    ("seeds", "pools", "bounds"),
    [(3, 1000, (0.91, 0.97)), (5, 1500, (0.93, 0.97)), (10, 1000, (0.93, 0.975))],
)
def test_an_interval_covers_the_truth_as_often_as_it_says(
    seeds: int, pools: int, bounds: tuple[float, float], design: str, halves: bool
) -> None:
    """On one test split that all seeds share, and on halves of a pool that each seed draws.

    Three seeds that differ much have 92 % in 10,000 pools, ten seeds of noise alone 96.7 % in 8,000. The
    share of 1,000 pools has a standard error of half a point.
    """
    rng = np.random.default_rng(5)
    made, truth = differences(rng, pools, 1000, seeds=seeds, halves=halves, **DESIGNS[design])  # type: ignore[arg-type]
    estimates = [paired_estimate(one) for one in made]
    assert bounds[0] <= np.mean([one.low <= truth <= one.high for one in estimates]) <= bounds[1]


@pytest.mark.slow
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("images", [250, 1000])
def test_an_interval_of_a_handful_of_rows_is_not_too_narrow(images: int, halves: bool) -> None:
    """About one row in a hundred differs, three images of 250: coverage can't be exact with a few counts."""
    made, truth = differences(np.random.default_rng(6), 1500, images, image=0.005, noise=0.005, halves=halves)
    estimates = [paired_estimate(one) for one in made]
    assert np.mean([one.low <= truth <= one.high for one in estimates]) >= 0.93


@pytest.mark.slow
def test_a_planted_difference_of_one_percent_is_found_after_correction() -> None:
    """+.0095 on halves of 10,000 images of which 4 % differ, as one of about 100 comparisons."""
    rng = np.random.default_rng(7)
    made, truth = differences(rng, 30, 10_000, image=0.11, noise=0.06, ahead=0.04, halves=True)
    assert truth == pytest.approx(0.0095, abs=1e-3)
    assert np.nanmean(np.abs(made)) == pytest.approx(0.04, abs=0.01)
    found = [holm([paired_estimate(one).p_value, *[0.5] * 99])[0] < 0.05 for one in made]
    assert np.mean(found) > 0.75


@given(st.integers(0, 1000))
def test_the_variance_is_that_of_the_mean_squares(seed: int) -> None:
    """On a whole test split: (MS images + MS seeds - MS residual) / rows, where images matter."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    table = (
        np.random.default_rng(seed).choice([-1.0, 0, 1], p=[0.1, 0.5, 0.4], size=(1, 12)).repeat(4, axis=0)
    )
    table[0, :3] = [1, -1, 0]
    seeds, images = np.indices(table.shape)
    frame = pd.DataFrame({"y": table.ravel(), "seed": seeds.ravel(), "image": images.ravel()})
    squares = anova_lm(ols("y ~ C(seed) + C(image)", frame).fit())
    means = squares["sum_sq"] / squares["df"]
    expected = (means["C(image)"] + means["C(seed)"] - means["Residual"]) / table.size
    assert paired_estimate(table).error ** 2 - 2 / 12**2 == pytest.approx(expected)


def test_images_that_no_two_seeds_share_leave_the_t_test_over_seeds() -> None:
    """But for the image added on each side: 2 / 400 seeds' rows, each of weight 1 / 400."""
    rng = np.random.default_rng(3)
    table = np.full((4, 400), np.nan)
    for seed in range(4):
        table[seed, seed::4] = rng.choice([-1.0, 0, 1], p=[0.1, 0.6, 0.3], size=100)
    estimate, means = paired_estimate(table), np.nanmean(table, axis=1)
    student = ttest_1samp(means, 0)
    assert estimate.mean == pytest.approx(means.mean())
    assert math.sqrt(estimate.error**2 - 2 / 400**2) == pytest.approx(means.mean() / student.statistic)


def test_seeds_that_differ_widen_the_interval() -> None:
    """Seeds at +.2 and -.1, each told apart by its images, are no difference that another seed would show."""
    means = np.array([[0.2], [-0.1], [0.2], [-0.1]])
    table = np.where(np.arange(400) < 400 * np.abs(means), np.sign(means), 0.0)
    apart = paired_estimate(table)
    assert apart.mean == pytest.approx(0.05)
    assert apart.p_value > 0.3
    assert apart.low < 0
    assert apart.high - apart.mean > 2 * np.std(means, ddof=1) / 2
    assert paired_estimate(np.tile(table[0], (4, 1))).low > 0


def test_seeds_that_agree_are_no_new_evidence() -> None:
    row = np.random.default_rng(2).choice([-1.0, 0, 1], p=[0.1, 0.7, 0.2], size=200)
    few, many = (paired_estimate(np.tile(row, (count, 1))) for count in (3, 10))
    assert few == pytest.approx(many)
    assert few.error == pytest.approx(math.sqrt(row.var(ddof=1) / 200 + 2 / 200**2))


def test_methods_that_agree_have_an_interval_of_the_order_of_an_image() -> None:
    agree = paired_estimate(np.zeros((3, 50)))
    assert (agree.mean, agree.p_value) == (0, 1)
    assert agree.high == -agree.low == pytest.approx(1.96 * math.sqrt(2) / 50, rel=1e-3)


@pytest.mark.parametrize("shape", [(2, 50), (1, 50), (5, 1)])
def test_two_seeds_or_one_image_have_no_interval(shape: tuple[int, int]) -> None:
    estimate = paired_estimate(np.ones(shape))
    assert estimate.mean == 1
    assert all(math.isnan(value) for value in (estimate.low, estimate.high, estimate.p_value))


@given(mean=st.floats(-1, 1), error=st.floats(1e-3, 1), freedom=st.floats(1, 100), margin=st.floats(0, 1))
def test_the_interval_and_the_p_values_agree(
    mean: float, error: float, freedom: float, margin: float
) -> None:
    one = Estimate(mean, error, freedom)
    if abs(one.p_value - 0.05) > 1e-6:
        assert (one.p_value < 0.05) == (one.low > 0 or one.high < 0)
    if abs(one.equivalence(margin) - 0.05) > 1e-6:
        assert (one.equivalence(margin) < 0.05) == (max(-one.low, one.high) < margin)


def test_equivalence_is_two_one_sided_tests() -> None:
    values = [0.01, -0.01, 0.02, 0.0]
    margin = 0.03
    sides = [
        ttest_1samp(values, -margin, alternative="greater").pvalue,
        ttest_1samp(values, margin, alternative="less").pvalue,
    ]
    assert seed_estimate(values).equivalence(margin) == pytest.approx(2 * max(sides))


def test_a_test_alone_and_corrected() -> None:
    one = Difference(estimate=Estimate(0.1, 0.04), corrected=0.2)
    assert one.better(correct=False)
    assert not one.better(correct=True)
    assert not one.significant
    less = Difference(estimate=Estimate(-0.1, 0.01), corrected=0.01)
    assert less.worse(correct=False)
    assert less.worse(correct=True)
    assert less.significant
    assert not Difference().significant


def test_an_estimate_over_seeds_is_students() -> None:
    estimate = seed_estimate([0.1, 0.2, 0.3])
    assert estimate.mean == pytest.approx(0.2)
    assert estimate.high - estimate.mean == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert estimate.p_value == pytest.approx(ttest_1samp([0.1, 0.2, 0.3], 0).pvalue)


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.1], [0.3] * 5, [0.4 - 0.1, 0.5 - 0.2, 0.6 - 0.3]])
def test_two_seeds_or_seeds_without_spread_have_no_interval_over_seeds(values: list[float]) -> None:
    """Equal values are no proof: not p = 0."""
    estimate = seed_estimate(values)
    assert estimate.mean == pytest.approx(np.mean(values))
    assert all(math.isnan(one) for one in (estimate.low, estimate.p_value, estimate.equivalence(0.1)))
