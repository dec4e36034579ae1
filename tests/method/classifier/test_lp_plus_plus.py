"""LP++ against finite differences, a plain loop, its guarantee, and the optimum of its objective."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from fused_clip.method.classifier import LPPlusPlus, Training, ZeroShot
from fused_clip.method.classifier.cross_entropy import unit_rows
from fused_clip.method.classifier.lp_plus_plus import Blocks, Problem, descend
from fused_clip.method.fusion import mean
from tests.conftest import Blobs, make_blobs


def training_of(blobs: Blobs, shots: int = 4) -> Training:
    """Labels of the first images of each class."""
    count = len(blobs.texts)
    rank = np.arange(len(blobs.train)) % (len(blobs.train) // count)
    targets = np.where(rank < shots, blobs.train_targets, -1)
    return Training(blobs.train, count, texts=blobs.texts, prompt_of_target=np.arange(count), targets=targets)


def problem_of(seed: int, count: int = 12, n_targets: int = 3, dim: int = 4) -> Problem:
    """Rows whose classes overlap."""
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.normal(size=(count, dim)) + 1)
    texts = unit_rows(rng.normal(size=(n_targets, dim)))
    return Problem(rows, np.arange(count) % n_targets, rows @ texts.T)


def loss_of(problem: Problem, at: Blocks) -> float:
    logits = problem.rows @ at.prototypes.T + problem.similarities * at.multipliers
    return float(-log_softmax(logits, axis=1)[np.arange(len(logits)), problem.targets].mean())


@given(st.integers(0, 999), st.integers(2, 5), st.integers(1, 20), st.floats(0.1, 10))
@settings(max_examples=30)
def test_the_gradient_is_that_of_finite_differences(
    seed: int, n_targets: int, count: int, size: float
) -> None:
    problem = problem_of(seed, count, n_targets)
    rng = np.random.default_rng(seed)
    at = Blocks(size * rng.normal(size=(n_targets, 4)), size * rng.normal(size=n_targets))
    loss, slope = problem.evaluate(at)
    assert loss == pytest.approx(loss_of(problem, at))
    for block, own in zip(at, slope, strict=True):
        for place in np.ndindex(block.shape):
            value, ends = block[place], []
            for change in (1e-5, -1e-5):
                block[place] = value + change
                ends.append(loss_of(problem, at))
            block[place] = value
            assert own[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


def test_rows_are_summed_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(0)
    at = Blocks(np.ones((3, 4)), np.array([1.0, 2.0, 3.0]))
    whole = problem.evaluate(at)
    monkeypatch.setattr("fused_clip.method.classifier.lp_plus_plus._CHUNK", 5)
    loss, slope = problem.evaluate(at)
    assert loss == pytest.approx(whole[0])
    np.testing.assert_allclose(slope.prototypes, whole[1].prototypes, atol=1e-12)
    np.testing.assert_allclose(slope.multipliers, whole[1].multipliers, atol=1e-12)


@given(st.integers(0, 999), st.integers(2, 5), st.integers(1, 40), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=60)
def test_without_momentum_every_step_lowers_the_loss(
    seed: int, n_targets: int, shots: int, dim: int, text_every: int
) -> None:
    problem = problem_of(seed, n_targets * shots, n_targets, dim)
    losses = [loss for loss, _ in descend(problem, problem.start(n_targets), 40, 0, text_every)]
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] <= losses[0]


@pytest.mark.parametrize("block", [0, 1])
def test_a_longer_step_would_not_lower_every_loss(block: int) -> None:
    """Equal rows of two targets, and texts as like them: the curvature near 1/2 : 1/2 is the bound."""
    rows, similarities = np.ones((10, 1)), np.tile([1.0, -1.0], (10, 1))
    problem = Problem(rows, np.arange(10) % 2, similarities)
    start = Blocks(np.array([[0.01], [-0.01]]), np.zeros(2))
    if block:
        start = Blocks(np.zeros((2, 1)), np.array([0.01, 0.01]))
    step = problem.step_sizes()[block]
    before, slope = problem.evaluate(start)
    for factor, falls in ((0.99, True), (1.01, False)):
        moved = list(start)
        moved[block] = start[block] - factor * step * slope[block]
        assert (problem.evaluate(Blocks(*moved))[0] < before) == falls


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_many_steps_reach_the_optimum_of_scikit_learn(momentum: float) -> None:
    """A text in the weights of each target adds no freedom: the optimum is a logistic regression's."""
    problem = problem_of(3, count=60, dim=3)
    *_, (loss, _) = descend(problem, problem.start(3), 3000, momentum, 10)
    probe = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    probe.fit(problem.rows, problem.targets)
    best = -probe.predict_log_proba(problem.rows)[np.arange(60), problem.targets].mean()
    assert best - 1e-9 <= loss <= best + 1e-5


def by_plain_loops(training: Training, steps: int) -> np.ndarray:
    """Weights of each target, written out row by row; every target has the same number of labels."""
    images, targets = training.labelled
    texts = [text / np.sqrt((text**2).sum()) for text in training.text_of_target.astype(float)]
    rows = [row / np.sqrt((row**2).sum()) for row in images.astype(float)]
    n, count = len(rows), training.n_targets
    w = [sum(row for row, own in zip(rows, targets, strict=True) if own == k) for k in range(count)]
    fits = [np.mean([rows[i] @ texts[k] for i in range(n) if targets[i] == k]) for k in range(count)]
    alpha = [250 * np.mean(fits)] * count
    step_w = 4 * n / np.linalg.norm(np.array(rows), 2) ** 2
    step_alpha = 4 * n / max(sum((row @ text) ** 2 for row in rows) for text in texts)
    velocity = [0.0 * one for one in w]

    def residual(i: int, k: int) -> float:
        odds = [np.exp(rows[i] @ (w[j] + alpha[j] * texts[j])) for j in range(count)]
        return float(odds[k] / sum(odds) - (targets[i] == k))

    for step in range(1, steps + 1):
        slopes = [sum(residual(i, k) * rows[i] for i in range(n)) / n for k in range(count)]
        velocity = [0.9 * old + slope for old, slope in zip(velocity, slopes, strict=True)]
        w = [old - step_w * new for old, new in zip(w, velocity, strict=True)]
        if step % 10 == 0:
            slants = [sum(residual(i, k) * (rows[i] @ texts[k]) for i in range(n)) / n for k in range(count)]
            alpha = [old - step_alpha * slant for old, slant in zip(alpha, slants, strict=True)]
    return np.array([w[k] + alpha[k] * texts[k] for k in range(count)])


def test_it_is_a_plain_loop() -> None:
    training = training_of(make_blobs(spread=4.0), shots=5)
    ours = LPPlusPlus(steps=25).fit(training)
    np.testing.assert_allclose(ours.coef_, by_plain_loops(training, 25), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shots", [4, 16, 20])
def test_the_start_is_the_sum_of_at_most_16_images(shots: int) -> None:
    problem = problem_of(1, count=3 * shots)
    start = problem.start(3)
    sums = np.stack([problem.rows[problem.targets == target].sum(axis=0) for target in range(3)])
    np.testing.assert_allclose(start.prototypes, sums * min(1, 16 / shots))


def test_more_labels_of_one_target_do_not_lengthen_its_prototype() -> None:
    problem = problem_of(1)
    doubled = np.concatenate([np.arange(12), np.flatnonzero(problem.targets == 1)])
    unequal = Problem(*(part[doubled] for part in problem))
    ours, theirs = problem.start(3), unequal.start(3)
    np.testing.assert_allclose(theirs.prototypes, ours.prototypes * 16 / 12)
    np.testing.assert_allclose(theirs.multipliers, ours.multipliers)


def test_lengths_of_images_and_texts_change_nothing(blobs: Blobs) -> None:
    training = training_of(blobs)
    long = dataclasses.replace(training, images=3 * training.images, texts=7 * blobs.texts)
    ours, theirs = LPPlusPlus().fit(training), LPPlusPlus().fit(long)
    np.testing.assert_allclose(
        ours.target_scores(blobs.test).values, theirs.target_scores(5 * blobs.test).values, atol=1e-3
    )


def test_it_learns_what_the_texts_do_not_say() -> None:
    """Texts of one class in the place of another's: 4 labels are enough."""
    blobs = make_blobs(spread=1.0)
    swapped = dataclasses.replace(blobs, texts=np.roll(blobs.texts, 1, axis=0))
    training = training_of(swapped)
    accuracies = [
        (one.fit(training).target_scores(blobs.test).values.argmax(axis=1) == blobs.test_targets).mean()
        for one in (ZeroShot(), LPPlusPlus())
    ]
    assert accuracies[0] < 0.1
    assert accuracies[1] > 0.9


def test_a_target_without_a_label_has_only_its_text(blobs: Blobs) -> None:
    training = training_of(blobs)
    hidden = dataclasses.replace(training, targets=np.where(training.targets == 1, -1, training.targets))
    fitted = LPPlusPlus(steps=10).fit(hidden)
    pair = Training(
        blobs.train,
        2,
        texts=blobs.texts[[0, 2]],
        prompt_of_target=np.arange(2),
        targets=np.select([hidden.targets == 0, hidden.targets == 2], [0, 1], -1),
    )
    np.testing.assert_allclose(fitted.coef_[[0, 2]], LPPlusPlus(steps=10).fit(pair).coef_, atol=1e-9)
    texts, (images, targets) = unit_rows(blobs.texts), pair.labelled
    problem = Problem(unit_rows(images), targets, unit_rows(images) @ texts[[0, 2]].T)
    *_, (_, at) = descend(problem, problem.start(2), 10, 0.9, 10)
    expected = at.prototypes.mean(axis=0) + at.multipliers.mean() * texts[1]
    np.testing.assert_allclose(fitted.coef_[1], expected)
    predicted = fitted.target_scores(blobs.test).values.argmax(axis=1)
    assert (predicted == blobs.test_targets).mean() > 0.9


def test_one_labelled_target_leaves_zero_shot(blobs: Blobs) -> None:
    training = training_of(blobs)
    only = dataclasses.replace(training, targets=np.where(training.targets == 1, 1, -1))
    expected = ZeroShot().fit(training).target_scores(blobs.test).values.argmax(axis=1)
    predicted = LPPlusPlus().fit(only).target_scores(blobs.test).values.argmax(axis=1)
    np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"text_every": 0}, "text_every must be at least 1"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\)"),
    ],
)
def test_parameters_out_of_range_are_refused(blobs: Blobs, params: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        LPPlusPlus(**params).fit(training_of(blobs))  # type: ignore[arg-type]


def test_it_needs_text_and_a_label(blobs: Blobs) -> None:
    training = training_of(blobs)
    with pytest.raises(ValueError, match="needs prompts"):
        LPPlusPlus().fit(dataclasses.replace(training, texts=None))
    with pytest.raises(ValueError, match="needs a labelled image"):
        LPPlusPlus().fit(training_of(blobs, shots=0))


def test_weights_of_another_number_of_targets_are_refused(blobs: Blobs) -> None:
    arrays = LPPlusPlus(steps=1).fit(training_of(blobs)).arrays()
    with pytest.raises(ValueError, match="coef must be 4 rows"):
        LPPlusPlus().restore(arrays, 4, mean())


def test_steps_are_two_over_the_bound_by_hand() -> None:
    """Two equal unit rows: X'X has the eigenvalue 2; similarities of .1 and .3, squared and summed: .18."""
    rows, targets = np.array([[0.6, 0.8], [0.6, 0.8]]), np.array([0, 1])
    of_prototypes, of_multipliers = Problem(rows, targets, np.array([[0.1, 0.3], [0.1, 0.3]])).step_sizes()
    assert of_prototypes == pytest.approx(4 * 2 / 2)
    assert of_multipliers == pytest.approx(4 * 2 / 0.18)
    assert Problem(rows, targets, np.zeros((2, 2))).step_sizes()[1] == pytest.approx(8e12)
