"""P-values and sets: by hand, against MAPIE, and their coverage over all orders of few numbers."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

from fused_clip.guarantee.conformal import (
    check_enough,
    least_rows,
    nonconformity,
    p_values,
    prediction_sets,
)
from fused_clip.metrics.calibration import softmax
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError


class AsGiven(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose rows are its probabilities."""

    def __init__(self, n_classes: int = 4) -> None:
        self.classes_ = np.arange(n_classes)
        self.n_classes = n_classes
        self.fitted_ = True

    def fit(self, X: DoubleArray, y: IntArray) -> "AsGiven":
        return self

    def predict_proba(self, X: DoubleArray) -> DoubleArray:
        return X

    def predict(self, X: DoubleArray) -> IntArray:
        return X.argmax(axis=1)


def drawn(count: int, n_classes: int = 4, seed: int = 0) -> tuple[DoubleArray, IntArray]:
    """Probabilities, and true classes drawn by them."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=2, size=(count, n_classes))
    chances = softmax(scores)
    return chances, np.array([rng.choice(n_classes, p=row) for row in chances])


def test_a_p_value_counts_the_new_image_and_ties() -> None:
    known = np.array([1.0, 2.0, 2.0, np.inf])
    new = np.array([[0.0, 1.0, 2.0, 2.5, np.inf]])
    np.testing.assert_allclose(p_values(known, new), [[1.0, 1.0, 0.8, 0.4, 0.4]])
    assert p_values(known, np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_sets_are_those_of_mapie(coverage: float) -> None:
    from mapie.classification import SplitConformalClassifier

    known, truth = drawn(157, seed=1)
    new, _ = drawn(300, seed=2)
    mapie = SplitConformalClassifier(AsGiven(), coverage, conformity_score="lac", prefit=True)
    mapie.conformalize(known, truth)
    _, expected = mapie.predict_set(new)
    sets = prediction_sets(1 - known, truth, 1 - new, coverage, "all")
    np.testing.assert_array_equal(sets, expected[:, :, 0])
    assert 0 < sets.mean() < 1


@pytest.mark.parametrize("n", [4, 5, 6])
@pytest.mark.parametrize("coverage", [0.5, 0.6, 0.75, 0.8])
def test_the_coverage_is_exact_over_all_orders(n: int, coverage: float) -> None:
    """Of n + 1 different scores each is the new one equally often."""
    hits = []
    for order in permutations(range(n + 1)):
        known = np.array(order[:n], dtype=float)[:, None]
        sets = prediction_sets(known, np.zeros(n, int), np.array([[float(order[n])]]), coverage, "all")
        hits.append(bool(sets[0, 0]))
    expected = np.ceil((n + 1) * coverage - 1e-9) / (n + 1)
    assert np.mean(hits) == pytest.approx(expected)
    assert np.mean(hits) >= coverage


def test_a_target_has_its_own_coverage() -> None:
    """The second class is harder: over all images its coverage is too low, and its own is not."""
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 2
    own = np.where(truth == 0, rng.uniform(0, 1, 4000), rng.uniform(0.5, 2, 4000))
    scores = np.stack([own, own], axis=1)
    half = slice(None, 2000), slice(2000, None)
    for per, low in (("all", 0.79), ("target", 0.88)):
        sets = prediction_sets(scores[half[0]], truth[half[0]], scores[half[1]], 0.9, per)  # type: ignore[arg-type]
        hit = sets[np.arange(2000), truth[half[1]]]
        assert hit[truth[half[1]] == 1].mean() == pytest.approx(low + 0.015, abs=0.025)
        assert hit.mean() > 0.87


def test_a_calibration_image_that_cannot_be_answered_counts_as_missed() -> None:
    known = np.zeros((9, 2))
    new = np.array([[0.5, 0.5]])
    assert not prediction_sets(known, np.zeros(9, int), new, 0.9, "all").any()
    assert prediction_sets(known, np.array([0] * 8 + [-1]), new, 0.9, "all").any()


@given(st.floats(0.01, 0.999))
def test_with_the_least_rows_an_answer_can_be_ruled_out_and_with_fewer_not(coverage: float) -> None:
    need = least_rows(coverage)
    new = np.array([[2.0]])
    assert not prediction_sets(np.ones((need, 1)), np.zeros(need, int), new, coverage, "all").any()
    if need > 1:
        less = need - 1
        assert prediction_sets(np.ones((less, 1)), np.zeros(less, int), new, coverage, "all").all()


@pytest.mark.parametrize(("coverage", "need"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1), (0.1, 1)])
def test_the_rows_that_a_level_needs(coverage: float, need: int) -> None:
    assert least_rows(coverage) == need
    check_enough("coverage", coverage, need)
    if need > 1:
        with pytest.raises(InputError, match=rf"^coverage: needs at least {need} .*'cat'.* has {need - 1}\."):
            check_enough("coverage", coverage, need - 1, "cat")


def test_nonconformity_is_minus_log_probability_and_tells_certain_answers_apart() -> None:
    scores = np.array([[1.0, 2.0, -np.inf], [0.0, 0.0, 0.0]])
    expected = -np.log(softmax(scores[:1])[0, :2])
    found = nonconformity(scores, calibrated=True)
    np.testing.assert_allclose(found[0, :2], expected)
    assert np.isinf(found[0, 2])
    np.testing.assert_allclose(found[1], np.log(3))
    certain = nonconformity(np.array([[50.0, 0.0], [60.0, 0.0]]), calibrated=True)
    assert 0 < certain[1, 0] < certain[0, 0] < 1e-20
    gaps = nonconformity(np.array([[1.0, 2.0, -np.inf], [5.0, 1.0, 2.0]]), calibrated=False)
    np.testing.assert_array_equal(gaps, [[1, -1, np.inf], [-3, 4, 3]])
