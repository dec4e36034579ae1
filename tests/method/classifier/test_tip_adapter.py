"""Tip-Adapter against loops over the paper's formulas."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from fused_clip.method.classifier import TipAdapter, TipAdapterF, Training, ZeroShot
from fused_clip.method.classifier.cache import KeyCache, tuned_keys
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import l2_normalized, mean
from fused_clip.support.arrays import DoubleArray
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

HARD = make_blobs(n_classes=4, spread=5.0)
TRAINING = Training(
    HARD.train, 4, texts=HARD.texts, prompt_of_target=np.arange(4), targets=HARD.train_targets
)
FEW = dataclasses.replace(TRAINING, images=HARD.train[::20], targets=HARD.train_targets[::20])
CACHE = KeyCache(
    l2_normalized(FEW.images.astype(np.float64)),
    np.asarray(FEW.targets),
    4,
    l2_normalized(HARD.texts.astype(np.float64)),
)


def scores_of(cache: KeyCache, alpha: float, beta: float, X: DoubleArray) -> DoubleArray:
    """``100 x t + alpha exp(-beta (1 - x K)) onehot``, one image and one key at a time."""
    values = np.empty((len(X), 4))
    for place, x in enumerate(X):
        x = x / np.linalg.norm(x)
        values[place] = [100 * x @ text for text in np.asarray(cache.texts)]
        for key, owner in zip(cache.keys, cache.owners, strict=True):
            values[place, owner] += alpha * np.exp(-beta * (1 - x @ key))
    return values


@given(st.floats(0, 10), st.floats(0, 10))
def test_scores_are_those_of_a_loop(alpha: float, beta: float) -> None:
    model = TipAdapter(alpha, beta).fit(FEW)
    X = HARD.test[::9].astype(np.float64)
    np.testing.assert_allclose(model.target_scores(X).values, scores_of(CACHE, alpha, beta, X), atol=1e-5)


@pytest.mark.parametrize("model", [TipAdapter(alpha=0), TipAdapterF(alpha=0, epochs=2)])
def test_alpha_zero_is_zero_shot(model: TipAdapter) -> None:
    expected = 100 * (ZeroShot().fit(TRAINING).target_scores(HARD.test).values + 1)
    np.testing.assert_allclose(model.fit(TRAINING).target_scores(HARD.test).values, expected, atol=1e-4)


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TipAdapter().fit(TRAINING)
    monkeypatch.setattr("fused_clip.method.classifier.cache._ROWS_A_BLOCK", 7)
    parts = TipAdapter().fit(TRAINING)
    assert parts.chosen_ == whole.chosen_
    one, other = (model.target_scores(HARD.test).values for model in (whole, parts))
    np.testing.assert_allclose(one, other)


def test_settings_are_the_first_best_on_validation_rows() -> None:
    split = validation_split(TRAINING)
    assert split is not None
    part = dataclasses.replace(TRAINING, images=split.images, targets=split.targets)
    accuracies = {}
    for beta, alpha in itertools.product(np.linspace(0.1, 7, 20), np.linspace(0.1, 3, 20)):
        found = TipAdapter(alpha, beta).fit(part).target_scores(split.held_out).values.argmax(axis=1)
        accuracies[beta, alpha] = (found == split.held_out_targets).mean()
    beta, alpha = max(accuracies, key=accuracies.__getitem__)
    assert len(set(accuracies.values())) > 2
    assert TipAdapter().fit(TRAINING).chosen_ == pytest.approx({"alpha": alpha, "beta": beta})


def test_one_label_a_class_leaves_the_defaults() -> None:
    rows = np.arange(0, 160, 40)
    one = dataclasses.replace(TRAINING, images=HARD.train[rows], targets=HARD.train_targets[rows])
    assert TipAdapter().fit(one).chosen_ == {"alpha": 2, "beta": 1}
    assert TipAdapterF().fit(one).chosen_ == {"alpha": 2, "beta": 1, "epoch": 20}


@pytest.mark.parametrize("size", [4, 20, 1000])
def test_the_cache_has_at_most_the_rows_that_it_may(size: int) -> None:
    model = TipAdapter(1, 1, max_cache=size).fit(TRAINING)
    assert len(model.keys_) == min(size, 160)
    np.testing.assert_array_equal(np.bincount(model.owners_), min(size, 160) // 4)
    unit = l2_normalized(HARD.train.astype(np.float64))
    for key, owner in zip(model.keys_, model.owners_, strict=True):
        (place,) = np.flatnonzero((np.abs(unit - key) < 1e-9).all(axis=1))
        assert HARD.train_targets[place] == owner


def test_no_epoch_is_tip_adapter() -> None:
    plain, tuned = (model.fit(TRAINING) for model in (TipAdapter(), TipAdapterF(epochs=0)))
    np.testing.assert_array_equal(
        plain.target_scores(HARD.test).values, tuned.target_scores(HARD.test).values
    )
    assert tuned.chosen_ == {**plain.chosen_, "epoch": 0}


def adamw(cache: KeyCache, alpha: float, beta: float, epochs: int) -> DoubleArray:
    """Full-batch AdamW, from its paper, with the gradient written out."""
    rows, keys = cache.keys, cache.keys.copy()
    owner = np.eye(4)[cache.owners]
    first, second = np.zeros_like(keys), np.zeros_like(keys)
    for step in range(1, epochs + 1):
        rate = 1e-3 * (1 + np.cos(np.pi * (step - 1) / epochs)) / 2
        affinity = np.exp(-beta * (1 - rows @ keys.T))
        wrong = softmax(100 * rows @ np.asarray(cache.texts).T + alpha * affinity @ owner, axis=1) - owner
        gradient = (wrong @ owner.T * alpha * beta * affinity).T @ rows / len(rows)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        keys = keys * (1 - 0.01 * rate)
        keys -= rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-4)
    return keys


@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_keys_are_tuned_by_adamw_on_the_cross_entropy(epochs: int) -> None:
    *_, keys = tuned_keys(CACHE, 2.0, 1.5, epochs, seed=0)
    assert np.abs(keys - CACHE.keys).max() > 1e-4
    np.testing.assert_allclose(keys, adamw(CACHE, 2.0, 1.5, epochs), atol=1e-5)


def test_tuning_lowers_the_loss_and_repeats_itself() -> None:
    def loss(keys: DoubleArray) -> float:
        scores = scores_of(CACHE._replace(keys=keys), 2.0, 1.0, CACHE.keys)
        return float(-np.log(softmax(scores, axis=1)[np.arange(len(scores)), CACHE.owners]).mean())

    *_, keys = tuned_keys(CACHE, 2.0, 1.0, 20, seed=0)
    assert loss(keys) < loss(CACHE.keys)
    *_, again = tuned_keys(CACHE, 2.0, 1.0, 20, seed=0)
    np.testing.assert_array_equal(keys, again)


def test_the_epoch_is_the_first_best_on_validation_rows() -> None:
    """Under a leak of the epochs these are test rows: the published choice."""
    blobs = make_blobs(n_classes=4, spread=4.0)
    texts = 1 + blobs.texts / 20  # alike, as CLIP's are
    images, targets = blobs.train[::5], blobs.train_targets[::5]
    leaked = {"epochs": (blobs.test, blobs.test_targets)}
    training = dataclasses.replace(FEW, images=images, targets=targets, texts=texts, leaked=leaked)
    model = TipAdapterF(alpha=3, beta=1.5).fit(training)
    unit, unit_texts = (l2_normalized(rows.astype(np.float64)) for rows in (images, texts))
    cache = KeyCache(unit, targets, 4, unit_texts)
    accuracies = []
    for keys in tuned_keys(cache, 3.0, 1.5, 20, seed=0):
        found = scores_of(cache._replace(keys=keys), 3.0, 1.5, blobs.test.astype(np.float64)).argmax(axis=1)
        accuracies.append((found == blobs.test_targets).mean())
    best = int(np.argmax(accuracies)) + 1
    assert 1 < best < 20
    assert model.chosen_ == {"epoch": best}
    *_, keys = itertools.islice(tuned_keys(cache, 3.0, 1.5, 20, seed=0), best)
    np.testing.assert_allclose(model.keys_, keys, atol=1e-6)


@pytest.mark.parametrize(
    "params", [{"alpha": -0.1}, {"beta": -1}, {"alpha": float("nan")}, {"max_cache": 0}, {"epochs": -1}]
)
def test_settings_out_of_range_are_refused(params: dict[str, float]) -> None:
    (name,) = params
    with pytest.raises(InputError, match=rf"classifier\.{name}: must be a .*number, at least"):
        TipAdapterF(**params)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"texts": np.zeros((3, 16))},
        {"texts": np.zeros((4, 15))},
        {"owners": np.array([0, 1])},
        {"settings": np.zeros(3)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray]) -> None:
    arrays = TipAdapter().fit(FEW).arrays()
    with pytest.raises(ValueError, match="must"):
        TipAdapter().restore({**arrays, **change}, 4, mean())
