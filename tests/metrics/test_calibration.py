import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax

from fused_clip.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    softmax,
)


def drawn(temperature: float, rows: int = 20_000, targets: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and targets drawn with the probabilities that a temperature gives them."""
    rng = np.random.default_rng(5)
    scores = -rng.uniform(1, 5, size=(rows, targets))
    cumulated = softmax(scores / temperature).cumsum(axis=1)
    return scores, (rng.uniform(size=(rows, 1)) > cumulated).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20.0])
def test_the_temperature_of_drawn_targets_is_found(temperature: float) -> None:
    scores, targets = drawn(temperature)
    assert fit_temperature(scores, targets) == pytest.approx(temperature, rel=0.1)


@given(st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_the_temperature_has_the_unit_of_the_scores(scale: float, shift: float) -> None:
    scores, targets = drawn(0.7, rows=200)
    expected = fit_temperature(scores, targets) * scale
    assert fit_temperature((scores + 20 + shift) * scale, targets) == pytest.approx(expected, rel=1e-3)


def test_rows_without_an_error_do_not_make_the_model_certain() -> None:
    scores = np.tile([-1.0, -3.0], (50, 1))
    probabilities = softmax(scores / fit_temperature(scores, np.zeros(50, dtype=int)))
    assert probabilities[0, 0] == pytest.approx(1 - 1 / 52, abs=1e-3)


def test_targets_that_can_not_be_predicted_do_not_count() -> None:
    scores, targets = drawn(0.7, rows=500, targets=3)
    alone = fit_temperature(scores, targets)
    lost = np.column_stack([scores, np.full(500, -np.inf)])
    more = np.vstack([lost, [1, 2, 3, -np.inf]])
    assert fit_temperature(more, np.append(targets, 3)) == pytest.approx(alone, rel=1e-3)
    assert fit_temperature(np.full((3, 2), -np.inf), np.zeros(3, dtype=int)) == 1
    assert fit_temperature(np.ones((3, 2)), np.zeros(3, dtype=int)) == 1


@given(st.integers(1, 6), st.integers(0, 99))
def test_probabilities_are_those_of_scipy(targets: int, seed: int) -> None:
    scores = 1e3 * np.random.default_rng(seed).normal(size=(7, targets))
    scores[:, 1:][:, ::2] = -np.inf
    np.testing.assert_allclose(softmax(scores), scipy_softmax(scores, axis=1), rtol=1e-12)


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]])
    targets = np.array([0, 1, 1, 1])
    expected = (abs(1.8 - 1) + abs(0.6 - 1) + 0) / 4
    assert expected_calibration_error(probabilities, targets) == pytest.approx(expected)


def test_brier_score_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]])
    assert brier_score(probabilities, np.array([0, 0])) == pytest.approx((0.04 + 0.04 + 1 + 1) / 2)


@given(st.integers(2, 5), st.integers(0, 99))
def test_scores_stay_in_their_ranges(targets: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(targets), size=20)
    truth = rng.integers(targets, size=20)
    assert 0 <= expected_calibration_error(probabilities, truth) <= 1
    assert 0 <= brier_score(probabilities, truth) <= 2
