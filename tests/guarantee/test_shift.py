"""The test of shift: its statistic, its level, what it finds, and what it says it would find."""

import numpy as np
import pytest
from scipy.stats import energy_distance

from fused_clip.guarantee import shift
from fused_clip.guarantee.shift import LEVEL, MOST_ROWS, ShiftTest, shift_test
from fused_clip.support.arrays import FloatArray


def normal(count: int, seed: int, dim: int = 16, mean: float = 0.0) -> FloatArray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    rows[:, 0] += mean
    return rows.astype(np.float32)


def test_the_statistic_is_the_energy_distance_over_the_distance_between() -> None:
    known, new = normal(60, 0, dim=1), normal(25, 1, dim=1, mean=0.7)
    between = np.abs(known - new.T).mean()
    expected = energy_distance(known[:, 0], new[:, 0]) ** 2 / (2 * between)
    assert shift_test(known, new).statistic == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 30])
def test_images_of_the_same_kind_are_rarely_refused(count: int) -> None:
    samples = ((normal(100, 2 * seed), normal(count, 2 * seed + 1)) for seed in range(200))
    p = np.array([shift_test(known, new, power=False).p for known, new in samples])
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 200)
    assert (p <= 0.5).mean() > 0.35, "p-values near 1 would find nothing"


def test_a_shift_of_all_images_is_found_and_the_guarantee_withdrawn() -> None:
    found = shift_test(normal(300, 0), normal(100, 1, mean=1.5))
    assert found.p == pytest.approx(1 / 2000)
    assert found.withdrawn
    assert found.statistic > shift_test(normal(300, 0), normal(100, 1)).statistic


def test_a_change_of_spread_alone_is_found() -> None:
    assert shift_test(normal(300, 0), 0.5 * normal(100, 1)).withdrawn


@pytest.mark.slow
@pytest.mark.parametrize("count", [20, 100])
def test_the_shift_that_it_says_it_finds_is_found_as_often(count: int) -> None:
    known = normal(400, 0)
    stated = shift_test(known, normal(count, 1)).detectable
    assert stated is not None
    typical = np.linalg.norm(normal(400, 5) - normal(400, 6), axis=1).mean()
    found = []
    for seed in range(60):
        new = normal(count, 10 + seed)
        line = np.random.default_rng(seed).normal(size=16)
        new += (stated * typical * line / np.linalg.norm(line)).astype(np.float32)
        found.append(shift_test(known, new, power=False).withdrawn)
    assert 0.6 <= np.mean(found) <= 1.0


def test_more_images_find_smaller_shifts_and_one_hardly_any() -> None:
    known = normal(200, 0)
    few, many = (shift_test(known, normal(count, 1)).detectable for count in (5, 80))
    assert few is not None
    assert many is not None
    assert many < few / 2
    one = shift_test(normal(30, 0), normal(1, 1))
    assert one.detectable is None
    assert "hardly any shift" in one.sentence
    assert "30 calibration images" in one.sentence


def test_the_same_images_give_the_same_answer_and_large_samples_are_drawn() -> None:
    known, new = normal(MOST_ROWS + 50, 0, dim=2), normal(MOST_ROWS + 1, 1, dim=2)
    found = shift_test(known, new)
    assert found == shift_test(known, new)
    assert (found.images, found.calibration_images) == (MOST_ROWS, MOST_ROWS)


def test_equal_images_are_no_shift() -> None:
    same = np.ones((12, 3), np.float32)
    found = shift_test(same, same[:4])
    assert found == ShiftTest(1.0, 0.0, 4, 12, None)
    assert not found.withdrawn


def test_the_level_can_be_reached() -> None:
    assert 1 / (shift._PERMUTATIONS + 1) <= LEVEL
