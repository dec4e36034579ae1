"""The pool of sources: weights, the share of wrong labels, and Bayes' rule."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from fused_clip.review import label_pool
from fused_clip.review.label_pool import LabelPool

K = 4


def draw(n: int, share: float, seed: int = 0, sharpness: float = 2.0) -> tuple[np.ndarray, ...]:
    """Log-probabilities that are right about true targets, labels, and which of these are wrong."""
    rng = np.random.default_rng(seed)
    truth = log_softmax(sharpness * rng.normal(size=(n, K)), axis=1)
    target = np.array([rng.choice(K, p=np.exp(row)) for row in truth])
    wrong = rng.random(n) < share
    labels = np.where(wrong, (target + rng.integers(1, K, n)) % K, target)
    return truth, labels, wrong


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_it_finds_the_share_of_wrong_labels_and_the_sharpness_of_a_source(share: float) -> None:
    truth, labels, wrong = draw(20_000, share)
    pool = LabelPool.fit([log_softmax(truth / 3, axis=1)], labels)
    assert pool.error_rate == pytest.approx(share, abs=0.015)
    assert pool.weights[0] == pytest.approx(3, abs=0.3)
    np.testing.assert_allclose(np.exp(pool.log_probabilities), np.exp(truth), atol=0.06)
    assert pool.wrong.mean() == pytest.approx(wrong.mean(), abs=0.015)


def test_probabilities_of_error_are_calibrated() -> None:
    truth, labels, wrong = draw(20_000, 0.15)
    found = LabelPool.fit([truth], labels).wrong
    for low, high in ((0.05, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        some = (found >= low) & (found < high)
        assert some.sum() > 100
        assert wrong[some].mean() == pytest.approx(found[some].mean(), abs=0.06)


def test_it_is_bayes_rule() -> None:
    """Of the targets that may be true, with mistakes in proportion to the summed evidence."""
    truth, labels, _ = draw(2_000, 0.1)
    pool = LabelPool.fit([truth], labels)
    first = label_pool._fitted(truth[None], labels, (1 - np.eye(K)) / (K - 1), np.ones(1))
    evidence = np.exp(log_softmax(first.weights[0] * truth, axis=1))
    mistaken = np.array(
        [[0 if y == k else evidence[labels == y, k].sum() + 1 / (K - 1) for y in range(K)] for k in range(K)]
    )
    mistaken /= mistaken.sum(axis=1, keepdims=True)
    for row in (0, 77, 1500):
        probabilities, label = np.exp(pool.log_probabilities[row]), labels[row]
        joint = [
            probabilities[true]
            * (1 - pool.error_rate if true == label else pool.error_rate * mistaken[true, label])
            for true in range(K)
        ]
        assert pool.wrong[row] == pytest.approx(1 - joint[label] / sum(joint), rel=1e-9)
    np.testing.assert_allclose(np.exp(pool.log_probabilities).sum(axis=1), 1)


def test_errors_of_similar_targets_are_learnt() -> None:
    truth, target, _ = draw(20_000, 0.0, sharpness=4.0)
    wrong = (target == 0) & (np.random.default_rng(0).random(len(target)) < 0.2)
    labels = np.where(wrong, 1, target)
    pool = LabelPool.fit([truth], labels)
    mistaken = label_pool._mistakes(np.exp(truth), labels)
    assert mistaken[0, 1] > 0.5, "by chance it would be 1/3"
    np.testing.assert_allclose(mistaken.sum(axis=1), 1)
    assert (np.diag(mistaken) == 0).all()
    assert pool.error_rate == pytest.approx(wrong.mean(), rel=0.25)
    called = pool.wrong > 0.5
    assert wrong[called].mean() > 0.75
    assert called[wrong].mean() > 0.6
    of_any = np.exp(truth)
    own = of_any[np.arange(len(labels)), labels]
    alike = 0.05 * (1 - own) / 3 / (0.95 * own + 0.05 * (1 - own) / 3)
    assert roc_auc_score(wrong, pool.wrong) > roc_auc_score(wrong, alike)


def test_noise_gets_no_weight_and_two_sources_are_better_than_one() -> None:
    truth, labels, wrong = draw(5_000, 0.1)
    rng = np.random.default_rng(1)
    noise = log_softmax(rng.normal(size=truth.shape), axis=1)
    halves = [log_softmax(truth + 2 * rng.normal(size=truth.shape), axis=1) for _ in range(2)]
    pool = LabelPool.fit([*halves, noise], labels)
    assert pool.weights[2] < 0.05 * min(pool.weights[:2])
    alone = [LabelPool.fit([half], labels) for half in halves]
    score = roc_auc_score(wrong, pool.wrong)
    assert score > max(roc_auc_score(wrong, one.wrong) for one in alone) + 0.02


def test_a_source_that_is_always_wrong_gets_the_weight_0() -> None:
    truth, labels, _ = draw(3_000, 0.05)
    swapped = np.roll(truth, 1, axis=1)
    pool = LabelPool.fit([truth, swapped], labels)
    assert pool.weights[1] == pytest.approx(0, abs=0.1)
    assert pool.weights[0] > 0.8


@pytest.mark.parametrize("rate", [-8.0, -3.0, -0.5])
def test_the_gradient_is_that_of_the_loss(rate: float) -> None:
    truth, labels, _ = draw(200, 0.1)
    sources = np.stack([truth, np.roll(truth, 1, axis=0)])
    mistaken = label_pool._mistakes(np.exp(truth), labels)[:, labels].T
    error = check_grad(
        lambda values: label_pool._loss(values, sources, labels, mistaken)[0],
        lambda values: label_pool._loss(values, sources, labels, mistaken)[1],
        np.array([0.7, 0.2, rate]),
    )
    assert error < 1e-6


def test_two_targets_and_rows_that_are_left_out_of_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, labels, _ = draw(4_000, 0.1)
    two = log_softmax(truth[:, :2], axis=1)
    whole = LabelPool.fit([two], labels % 2)
    assert whole.wrong.shape == (4_000,)
    monkeypatch.setattr(label_pool, "_MOST_ROWS", 2_000)
    half = LabelPool.fit([two], labels % 2)
    assert half.wrong.shape == (4_000,)
    assert half.weights != pytest.approx(whole.weights, abs=1e-9)
    np.testing.assert_allclose(half.wrong, whole.wrong, atol=0.1)


def test_it_is_the_same_each_time() -> None:
    truth, labels, _ = draw(500, 0.1)
    first, second = (LabelPool.fit([truth], labels, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.wrong, second.wrong)
