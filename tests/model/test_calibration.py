import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from fused_clip.model.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    nearest_of_each,
    out_of_fold_distances,
)
from tests.conftest import Blobs, make_blobs
from tests.model.conftest import fitted


def drawn(temperature: float, rows: int = 20_000, targets: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Distances, and targets drawn with the probabilities that a temperature gives them."""
    rng = np.random.default_rng(5)
    distances = rng.uniform(1, 5, size=(rows, targets))
    cumulated = softmax(-distances / temperature, axis=1).cumsum(axis=1)
    return distances, (rng.uniform(size=(rows, 1)) > cumulated).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20.0])
def test_the_temperature_of_drawn_targets_is_found(temperature: float) -> None:
    distances, targets = drawn(temperature)
    assert fit_temperature(distances, targets) == pytest.approx(temperature, rel=0.1)


@given(st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_the_temperature_has_the_unit_of_the_distances(scale: float, shift: float) -> None:
    distances, targets = drawn(0.7, rows=200)
    expected = fit_temperature(distances, targets) * scale
    assert fit_temperature((distances + 20 + shift) * scale, targets) == pytest.approx(expected, rel=1e-3)


def test_rows_without_an_error_do_not_make_the_model_certain() -> None:
    distances = np.tile([1.0, 3.0], (50, 1))
    probabilities = softmax(-distances / fit_temperature(distances, np.zeros(50, dtype=int)), axis=1)
    assert probabilities[0, 0] == pytest.approx(1 - 1 / 52, abs=1e-3)


def test_targets_that_can_not_be_predicted_do_not_count() -> None:
    distances, targets = drawn(0.7, rows=500, targets=3)
    alone = fit_temperature(distances, targets)
    lost = np.column_stack([distances, np.full(500, np.inf)])
    more = np.vstack([lost, [1, 2, 3, np.inf]])
    assert fit_temperature(more, np.append(targets, 3)) == pytest.approx(alone, rel=1e-3)
    assert fit_temperature(np.full((3, 2), np.inf), np.zeros(3, dtype=int)) == 1
    assert fit_temperature(np.ones((3, 2)), np.zeros(3, dtype=int)) == 1


def test_a_held_out_row_has_no_part_in_its_distances(blobs: Blobs) -> None:
    train = blobs.train
    model = fitted(blobs)
    distances = out_of_fold_distances(model, train, seed=0)
    moved = 17
    model.fused_[moved] += 100
    shifted = out_of_fold_distances(model, train, seed=0)
    same_fold = (shifted == distances).all(axis=1)
    assert same_fold[moved]
    assert not same_fold.all(), "rows of other folds feel its centroid"
    in_sample = fitted(blobs).assign(train).distances
    assert distances.min(axis=1).mean() > in_sample.mean(), (
        "a row is further from a mean that it has no part in"
    )


def test_clusters_of_one_row_are_gone_when_it_is_held_out() -> None:
    blobs = make_blobs(n_train=1)
    model = fitted(blobs, clusters_per_target=1)
    distances = out_of_fold_distances(model, blobs.train, seed=0)
    assert np.isinf(distances[np.arange(3), blobs.train_targets]).all()
    assert fit_temperature(distances, blobs.train_targets) == 1


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.integers(0, 99))
def test_nearest_of_each_owner(owners: list[int], seed: int) -> None:
    distances = np.random.default_rng(seed).uniform(size=(5, len(owners)))
    found = nearest_of_each(distances, np.array(owners), 4)
    for owner in range(4):
        own = distances[:, np.array(owners) == owner]
        np.testing.assert_array_equal(found[:, owner], own.min(axis=1, initial=np.inf))


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
