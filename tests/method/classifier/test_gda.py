"""Discriminant analysis against scikit-learn's with the same covariance."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fused_clip.method.classifier import GaussianDiscriminant, Training, ZeroShot
from fused_clip.method.classifier.gda import discriminant
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import l2_normalized, mean
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

HARD = make_blobs(n_classes=4, spread=5.0)
TRAINING = Training(
    HARD.train, 4, texts=HARD.texts, prompt_of_target=np.arange(4), targets=HARD.train_targets
)


class Given(EmpiricalCovariance):  # type: ignore[misc]
    """A covariance that is given, whatever the rows."""

    def __init__(self, covariance: DoubleArray) -> None:
        self.covariance = covariance

    def fit(self, X: DoubleArray, y: None = None) -> "Given":
        self.covariance_ = self.covariance
        return self


def covariance_of(rows: DoubleArray, targets: IntArray) -> DoubleArray:
    """The inverse of the precision of the paper, row by row."""
    n, d = rows.shape
    centred = [row - rows[targets == target].mean(axis=0) for row, target in zip(rows, targets, strict=True)]
    pooled = np.cov(np.array(centred).T)
    return np.asarray(((n - 1) * pooled + np.trace(pooled) * np.eye(d)) / d)


def theirs(rows: DoubleArray, targets: IntArray, X: DoubleArray) -> DoubleArray:
    lda = LinearDiscriminantAnalysis(
        "lsqr", priors=[0.25] * 4, covariance_estimator=Given(covariance_of(rows, targets))
    )
    return np.asarray(lda.fit(rows, targets).decision_function(X))


@given(st.integers(0, 1000), st.integers(8, 40), st.sampled_from([6, 50]))
def test_the_discriminant_is_scikit_learns_with_that_covariance(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    rows, targets = l2_normalized(rng.normal(size=(n, d)) + 1), np.arange(n) % 4
    X = l2_normalized(rng.normal(size=(5, d)))
    weights, bias = discriminant(rows, targets, 4)
    np.testing.assert_allclose(X @ weights.T + bias, theirs(rows, targets, X), rtol=1e-7, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0])
def test_scores_are_clips_logits_plus_alpha_times_the_discriminant(alpha: float) -> None:
    rows, X = (l2_normalized(part.astype(np.float64)) for part in (HARD.train, HARD.test))
    expected = 100 * X @ l2_normalized(HARD.texts.astype(np.float64)).T
    expected += alpha * theirs(rows, HARD.train_targets, X)
    scores = GaussianDiscriminant(alpha).fit(TRAINING).target_scores(HARD.test).values
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_without_text_it_is_the_discriminant_alone() -> None:
    alone = dataclasses.replace(TRAINING, texts=None, prompt_of_target=None)
    rows, X = (l2_normalized(part.astype(np.float64)) for part in (HARD.train, HARD.test))
    scores = GaussianDiscriminant().fit(alone).target_scores(HARD.test).values
    np.testing.assert_allclose(scores, theirs(rows, HARD.train_targets, X), atol=1e-5)


def test_alpha_zero_and_no_label_are_zero_shot() -> None:
    expected = 100 * (ZeroShot().fit(TRAINING).target_scores(HARD.test).values + 1)
    nothing = dataclasses.replace(TRAINING, targets=np.full(len(HARD.train), -1))
    for model in (GaussianDiscriminant(alpha=0).fit(TRAINING), GaussianDiscriminant().fit(nothing)):
        np.testing.assert_allclose(model.target_scores(HARD.test).values, expected, atol=1e-4)


def test_copies_are_rows_that_are_repeated() -> None:
    kept = np.arange(0, len(HARD.train), 4)
    few = dataclasses.replace(TRAINING, images=HARD.train[kept], targets=HARD.train_targets[kept])
    repeated = dataclasses.replace(TRAINING, images=HARD.train[kept.repeat(3)], targets=few.targets.repeat(3))  # type: ignore[union-attr]
    counted, plain, longer = (
        model.target_scores(HARD.test).values
        for model in (
            GaussianDiscriminant(1, copies=3).fit(few),
            GaussianDiscriminant(1).fit(few),
            GaussianDiscriminant(1).fit(repeated),
        )
    )
    np.testing.assert_allclose(counted, longer, atol=1e-8)
    assert np.abs(counted - plain).max() > 0.1


def test_alpha_is_the_first_best_on_validation_rows() -> None:
    split = validation_split(TRAINING)
    assert split is not None
    rows, X = (l2_normalized(part.astype(np.float64)) for part in (split.images, split.held_out))
    by_text = 100 * X @ l2_normalized(HARD.texts.astype(np.float64)).T
    by_label = theirs(rows, split.targets, X)
    accuracies = {
        10.0**power: ((by_text + 10.0**power * by_label).argmax(axis=1) == split.held_out_targets).mean()
        for power in range(-4, 3)
    }
    assert len(set(accuracies.values())) > 1
    assert GaussianDiscriminant().fit(TRAINING).chosen_ == {
        "alpha": max(accuracies, key=accuracies.__getitem__)
    }


def test_one_label_a_class_has_no_spread_and_works() -> None:
    rows = np.concatenate([np.flatnonzero(HARD.train_targets == kind)[:1] for kind in range(4)])
    one = dataclasses.replace(TRAINING, images=HARD.train[rows], targets=np.arange(4))
    model = GaussianDiscriminant().fit(one)
    assert model.chosen_ == {"alpha": 1}
    alone = GaussianDiscriminant().fit(dataclasses.replace(one, texts=None, prompt_of_target=None))
    np.testing.assert_array_equal(alone.target_scores(HARD.train[rows]).values.argmax(axis=1), np.arange(4))
    thrice = dataclasses.replace(one, images=HARD.train[rows.repeat(3)], targets=np.arange(4).repeat(3))
    scores = (GaussianDiscriminant(1).fit(given).target_scores(HARD.test).values for given in (one, thrice))
    np.testing.assert_allclose(*itertools.chain(scores), atol=1e-8)


@pytest.mark.parametrize("column", [0.0, 3.0])
def test_a_constant_column_is_no_harm(column: float) -> None:
    """A singular covariance is regularised."""
    wider = dataclasses.replace(
        TRAINING, images=np.c_[l2_normalized(HARD.train), np.full(160, column)], texts=None
    )
    scores = (
        GaussianDiscriminant().fit(wider).target_scores(np.c_[l2_normalized(HARD.test), np.full(80, column)])
    )
    alone = dataclasses.replace(TRAINING, texts=None)
    expected = GaussianDiscriminant().fit(alone).target_scores(HARD.test)
    assert np.isfinite(scores.values).all()
    same = scores.values.argmax(axis=1) == expected.values.argmax(axis=1)
    assert same.mean() > 0.95


@pytest.mark.parametrize("params", [{"alpha": -1}, {"alpha": "x"}, {"copies": 0}, {"copies": 1.5}])
def test_settings_out_of_range_are_refused(params: dict[str, float]) -> None:
    (name,) = params
    with pytest.raises(InputError, match=rf"classifier\.{name}: must be a .*number, at least"):
        GaussianDiscriminant(**params)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"coef": np.zeros((3, 16))}, {"intercept": np.zeros(2)}, {"targets": np.array([0, 1, 2, 4])}]
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray]) -> None:
    arrays = GaussianDiscriminant().fit(TRAINING).arrays()
    with pytest.raises(ValueError, match="must"):
        GaussianDiscriminant().restore({**arrays, **change}, 4, mean())
