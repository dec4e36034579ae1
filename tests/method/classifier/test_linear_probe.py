"""The probe against scikit-learn's, and the rows that it may look at."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fused_clip.method.classifier import LinearProbe, Training
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import mean
from fused_clip.support.sampling import stratified_split
from tests.conftest import Blobs, make_blobs


def training_of(blobs: Blobs, seed: int = 0) -> Training:
    return Training(blobs.train, len(blobs.texts), targets=blobs.train_targets, random_state=seed)


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_scikit_learns_at_the_chosen_penalty(classes: int) -> None:
    hard = make_blobs(n_classes=classes, spread=4.0)
    probe = LinearProbe().fit(training_of(hard))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=probe.C_, tol=1e-9, max_iter=10_000))
    theirs.fit(hard.train.astype(np.float64), hard.train_targets)
    expected = theirs.predict_log_proba(hard.test.astype(np.float64))
    np.testing.assert_allclose(probe.target_scores(hard.test).values, expected, atol=1e-3)
    np.testing.assert_array_equal(
        probe.target_scores(hard.test).values.argmax(axis=1), theirs.predict(hard.test.astype(np.float64))
    )


def test_the_weights_are_those_of_scikit_learn_to_the_tolerance() -> None:
    """The gradient of the mean loss is at most `tol`, whatever path led there."""
    hard = make_blobs(n_classes=3, spread=4.0)
    probe = LinearProbe(tol=1e-8).fit(training_of(hard))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=probe.C_, tol=1e-9, max_iter=10_000))
    theirs.fit(hard.train.astype(np.float64), hard.train_targets)
    expected = theirs.predict_log_proba(hard.test.astype(np.float64))
    np.testing.assert_allclose(probe.target_scores(hard.test).values, expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_penalty_is_the_best_on_validation_rows(seed: int) -> None:
    """The search goes from strong to weak, and ends after two values that are no better."""
    hard = make_blobs(n_classes=4, spread=4.0)
    rows = StandardScaler().fit_transform(hard.train.astype(np.float64))
    fit, held_out = stratified_split(hard.train_targets, 0.2, seed, option="test")
    accuracies: list[float] = []
    while len(accuracies) < 7 and (len(accuracies) < 3 or max(accuracies[-2:]) > max(accuracies[:-2])):
        probe = LogisticRegression(C=10.0 ** (len(accuracies) - 4), max_iter=5000)
        probe.fit(rows[fit], hard.train_targets[fit])
        accuracies.append(probe.score(rows[held_out], hard.train_targets[held_out]))
    best = int(np.argmax(accuracies)) - 4
    assert pytest.approx(10.0**best) == LinearProbe().fit(training_of(hard, seed)).C_


def test_a_plane_parts_what_a_plane_parts(blobs: Blobs) -> None:
    scores = LinearProbe().fit(training_of(blobs)).target_scores(blobs.test)
    np.testing.assert_array_equal(scores.values.argmax(axis=1), blobs.test_targets)
    np.testing.assert_allclose(np.exp(scores.values).sum(axis=1), 1)


def test_one_target_is_the_answer(blobs: Blobs) -> None:
    training = dataclasses.replace(training_of(blobs), targets=np.full(len(blobs.train), 2))
    probe = LinearProbe().fit(training)
    assert set(probe.target_scores(blobs.test).values.argmax(axis=1)) == {2}
    assert (probe.targets_.tolist(), probe.C_) == ([2], 1)


def test_a_target_with_one_row_leaves_nothing_to_choose_by(blobs: Blobs) -> None:
    kept = np.concatenate([np.arange(80), [100]])
    training = Training(blobs.train[kept], 3, targets=blobs.train_targets[kept])
    probe = LinearProbe().fit(training)
    assert probe.C_ == 1
    assert (probe.target_scores(blobs.test).values.argmax(axis=1) == blobs.test_targets).mean() > 0.9


@pytest.mark.parametrize("each", [1, 2])
def test_many_targets_with_a_label_or_two_are_no_regression(each: int) -> None:
    """Nothing is warned of: in tests a warning is an error."""
    targets = np.arange(30).repeat(each)
    rows = np.eye(30, dtype=np.float32)[targets]
    probe = LinearProbe().fit(Training(rows, 30, targets=targets, random_state=0))
    np.testing.assert_array_equal(probe.target_scores(rows).values.argmax(axis=1), targets)


def test_two_of_three_targets(blobs: Blobs) -> None:
    seen = blobs.train_targets != 1
    probe = LinearProbe().fit(Training(blobs.train[seen], 3, targets=blobs.train_targets[seen]))
    values = probe.target_scores(blobs.test).values
    assert probe.coef_.shape == (2, 16)
    assert np.isneginf(values[:, 1]).all()
    known = blobs.test_targets != 1
    np.testing.assert_array_equal(values[known].argmax(axis=1), blobs.test_targets[known])


def test_a_constant_column_does_no_harm(blobs: Blobs) -> None:
    constant = dataclasses.replace(training_of(blobs), images=np.c_[blobs.train, np.ones(120, np.float32)])
    probe = LinearProbe().fit(constant)
    wider = probe.target_scores(np.c_[blobs.test, np.ones(60, np.float32)]).values
    np.testing.assert_allclose(wider, LinearProbe().fit(training_of(blobs)).target_scores(blobs.test).values)


@pytest.mark.parametrize(
    "change",
    [
        {"coef": np.zeros((2, 16))},
        {"coef": np.zeros(3)},
        {"intercept": np.zeros(2)},
        {"targets": np.array([0, 1, 3])},
        {"targets": np.array([-1, 0, 1])},
        {"targets": np.array([], dtype=int), "coef": np.zeros((0, 16)), "intercept": np.zeros(0)},
    ],
)
def test_weights_that_do_not_fit_are_refused(blobs: Blobs, change: dict[str, np.ndarray]) -> None:
    arrays = LinearProbe().fit(training_of(blobs)).arrays()
    restored = LinearProbe().restore(arrays, 3, mean())
    np.testing.assert_array_equal(
        restored.target_scores(blobs.test).values,
        LinearProbe().fit(training_of(blobs)).target_scores(blobs.test).values,
    )
    with pytest.raises(ValueError, match="must"):
        LinearProbe().restore({**arrays, **change}, 3, mean())


def few(blobs: Blobs, count: int, seed: int = 0) -> Training:
    """Some labels of each class, the other rows without."""
    targets = np.full(len(blobs.train), -1)
    for kind in np.unique(blobs.train_targets):
        targets[np.flatnonzero(blobs.train_targets == kind)[:count]] = kind
    return dataclasses.replace(training_of(blobs, seed), targets=targets)


@pytest.mark.parametrize("count", [2, 5, 8, 19])
@pytest.mark.parametrize("seed", range(3))
def test_few_labels_bisect_around_the_best_of_a_coarse_grid(count: int, seed: int) -> None:
    """The protocol of CLIP and CoOp, step by step, within 1e-6 ... 1e6."""
    hard = make_blobs(n_classes=4, spread=4.0)
    training = few(hard, count, seed)
    split = validation_split(training)
    assert split is not None
    assert len(split.held_out) == 4 * min(4, count // 2)
    scaler = StandardScaler().fit(training.labelled[0].astype(np.float64))
    rows, held_out = (scaler.transform(part.astype(np.float64)) for part in (split.images, split.held_out))

    def accuracy(power: float) -> float:
        probe = LogisticRegression(C=10**power, max_iter=5000).fit(rows, split.targets)
        return float(probe.score(held_out, split.held_out_targets))

    coarse = [accuracy(power) for power in (-6, -4, -2, 0, 2, 4, 6)]
    peak = (-6, -4, -2, 0, 2, 4, 6)[int(np.argmax(coarse))]
    ends = [max(peak - 1, -6), min(peak + 1, 6)]
    for _ in range(8):
        better = int(accuracy(ends[0]) < accuracy(ends[1]))
        power = ends[better]
        ends[1 - better] = sum(ends) / 2
    probe = LinearProbe().fit(training)
    assert pytest.approx(10**power) == probe.C_
    assert probe.chosen_ == {"C": probe.C_}


def test_few_labels_give_scikit_learns_probe_at_the_chosen_penalty() -> None:
    hard = make_blobs(n_classes=4, spread=4.0)
    probe = LinearProbe(tol=1e-8).fit(few(hard, 10, seed=1))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=probe.C_, tol=1e-9, max_iter=10_000))
    images, targets = few(hard, 10).labelled
    expected = theirs.fit(images.astype(np.float64), targets).predict_log_proba(hard.test.astype(np.float64))
    np.testing.assert_allclose(probe.target_scores(hard.test).values, expected, atol=1e-5)


def test_twenty_labels_are_many() -> None:
    """Powers of ten alone are compared then, on a fifth of the rows."""
    hard = make_blobs(n_classes=4, spread=4.0)
    powers = [np.log10(LinearProbe().fit(few(hard, 20, seed)).C_) for seed in range(4)]
    np.testing.assert_allclose(powers, np.round(powers), atol=1e-12)
    assert max(np.abs(powers)) <= 4


@pytest.mark.parametrize(
    ("best", "chosen"), [(0.7, 0.703125), (-0.79, -0.796875), (-0.45, -0.453125), (-6.5, -6), (6.5, 6)]
)
def test_eight_steps_halve_two_decades(monkeypatch: pytest.MonkeyPatch, best: float, chosen: float) -> None:
    """With an accuracy that falls on both sides of one C, the end of the interval after 8 steps is chosen."""

    asked: list[float] = []

    def accuracy(penalty: float) -> float:
        asked.append(np.log10(penalty))
        return -abs(asked[-1] - best)

    monkeypatch.setattr(LinearProbe, "_accuracies", lambda self, split, warm_start: accuracy)
    assert np.log10(LinearProbe().fit(few(make_blobs(), 4)).C_) == pytest.approx(chosen)
    np.testing.assert_allclose(asked[:7], [-6, -4, -2, 0, 2, 4, 6])
    assert len(asked) == 7 + 2 * 8


@pytest.mark.parametrize(
    ("accuracies", "tried", "chosen"),
    [
        ((0.9, 0.8, 0.7, 1.0), 3, -4),
        ((0.5, 0.4, 0.9, 0.8, 0.9, 0.6, 0.5), 7, -2),
        ((0.5, 0.4, 0.5, 0.4, 0.6, 0.5, 0.5), 7, 0),
    ],
)
def test_weaker_penalties_are_not_tried_after_two_worse_in_a_row(
    monkeypatch: pytest.MonkeyPatch, accuracies: tuple[float, ...], tried: int, chosen: int
) -> None:
    asked: list[float] = []

    def accuracy(penalty: float) -> float:
        asked.append(penalty)
        return accuracies[len(asked) - 1]

    monkeypatch.setattr(LinearProbe, "_accuracies", lambda self, split: accuracy)
    probe = LinearProbe().fit(few(make_blobs(), 20))
    np.testing.assert_allclose(asked, 10.0 ** np.arange(-4, -4 + tried))
    assert np.log10(probe.C_) == pytest.approx(chosen)
