"""CLAP against finite differences, torch's SGD, plain loops, and zero-shot at both of its ends."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from fused_clip.method.classifier import CLAP, Training, ZeroShot
from fused_clip.method.classifier.clap import multipliers, objective, schedule
from fused_clip.method.classifier.cross_entropy import unit_rows
from fused_clip.method.fusion import mean
from tests.conftest import Blobs, make_blobs
from tests.method.classifier.test_lp_plus_plus import training_of


@given(st.integers(0, 999), st.integers(2, 5), st.integers(1, 20), st.floats(0.3, 30))
@settings(max_examples=30)
def test_the_gradient_is_that_of_finite_differences(
    seed: int, n_targets: int, count: int, length: float
) -> None:
    rng = np.random.default_rng(seed)
    rows, targets = unit_rows(rng.normal(size=(count, 4))), rng.integers(n_targets, size=count)
    prototypes = length * unit_rows(rng.normal(size=(n_targets, 4)))

    def value() -> float:
        logits = 100 * rows @ (prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True)).T
        return float(-log_softmax(logits, axis=1)[np.arange(count), targets].mean())

    loss, slope = objective(rows, targets, prototypes)
    assert loss == pytest.approx(value())
    for place in np.ndindex(prototypes.shape):
        old, ends = prototypes[place], []
        for change in (1e-5, -1e-5):
            prototypes[place] = old + change * length
            ends.append(value())
        prototypes[place] = old
        assert slope[place] * length == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-4)


def test_zero_epochs_are_zero_shot(blobs: Blobs) -> None:
    training = training_of(blobs)
    expected = 100 * ZeroShot().fit(training).target_scores(blobs.test).values
    np.testing.assert_allclose(
        CLAP(epochs=0).fit(training).target_scores(blobs.test).values, expected, atol=1e-4
    )


def test_no_label_is_zero_shot(blobs: Blobs) -> None:
    without, with_labels = training_of(blobs, shots=0), training_of(blobs)
    np.testing.assert_array_equal(
        CLAP().fit(without).prototypes_, CLAP(epochs=0).fit(with_labels).prototypes_
    )


def test_a_heavy_penalty_is_zero_shot() -> None:
    """The heavier, the nearer; at any weight the descent is stable."""
    training = training_of(make_blobs(spread=4.0), shots=6)
    texts = CLAP(epochs=0).fit(training).prototypes_
    scales = [0, 1, 1e2, 1e4, 1e6, 1e12]
    ways = [np.abs(CLAP(penalty_scale=scale).fit(training).prototypes_ - texts).max() for scale in scales]
    assert ways[0] > 0.5
    assert (np.diff(ways) < 0).all()
    assert ways[-1] < 1e-9


def by_torch(training: Training, penalty_scale: float, epochs: int, momentum: float = 0.9) -> np.ndarray:
    """The authors' descent with torch, of all labelled rows at once."""
    images, targets = training.labelled
    rows, owners = torch.tensor(unit_rows(images)), torch.tensor(targets)
    texts = torch.tensor(10 * unit_rows(training.text_of_target))
    chances = torch.softmax(100 * rows @ torch.nn.functional.normalize(texts).T, dim=1)
    own = [chances[owners == target, target].mean() for target in range(len(texts))]
    prototypes = torch.nn.Parameter(texts.clone())
    descent = torch.optim.SGD([prototypes], 0.1, momentum=momentum)
    for epoch in range(epochs):
        descent.param_groups[0]["lr"] = 0.05 * (1 + np.cos(np.pi * epoch / epochs)) if epoch else 1e-5
        descent.zero_grad()
        logits = 100 * rows @ torch.nn.functional.normalize(prototypes).T
        penalty = (torch.stack(own) * ((prototypes - texts) ** 2).sum(dim=1)).mean()
        loss = torch.nn.functional.cross_entropy(logits, owners) + penalty_scale * penalty
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return prototypes.detach().numpy()


@pytest.mark.parametrize(("scale", "tolerance"), [(0.0, 1e-9), (1.0, 0.03)])
def test_it_is_torchs_descent(scale: float, tolerance: float) -> None:
    """Without a penalty the same; with one, but for the place at which its gradient is taken."""
    training = training_of(make_blobs(spread=4.0), shots=6)
    ours = CLAP(epochs=60, penalty_scale=scale).fit(training).prototypes_
    theirs = by_torch(training, scale, 60)
    start = CLAP(epochs=0).fit(training).prototypes_
    assert np.abs(ours - start).max() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs - start).max())


def test_it_ends_at_a_minimum_of_the_penalised_loss() -> None:
    """Where the gradient of the cross-entropy balances that of the penalty, so both have their factors."""
    training = training_of(make_blobs(spread=4.0), shots=6)
    images, targets = training.labelled
    rows, count = unit_rows(images), training.n_targets
    fitted = CLAP(epochs=4000, penalty_scale=5.0).fit(training)
    texts = 10 * unit_rows(training.text_of_target)
    pull = 2 * 5.0 * multipliers(rows, targets, texts)[:, None] / count * (fitted.prototypes_ - texts)
    _, slope = objective(rows, targets, fitted.prototypes_)
    assert np.abs(slope).max() > 1e-2
    np.testing.assert_allclose(slope + pull, 0, atol=1e-5)


def test_multipliers_are_zero_shot_probabilities_of_the_own_target() -> None:
    rng = np.random.default_rng(0)
    texts, rows = unit_rows(rng.normal(size=(4, 5))), unit_rows(rng.normal(size=(9, 5)))
    targets = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
    expected = np.zeros(4)
    for target in (0, 1, 3):
        own = [softmax(100 * texts @ row)[target] for row in rows[targets == target]]
        expected[target] = np.mean(own)
    np.testing.assert_allclose(multipliers(rows, targets, 7 * texts), expected)


def test_a_text_that_knows_its_images_stays_nearer() -> None:
    """Two targets of mirrored images and texts, but that one text fits: it is held back."""
    angles = np.deg2rad([0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    texts = np.array([[1.0, 0.0], [np.cos(0.05), np.sin(0.05)]])
    training = Training(
        rows, 2, texts=texts, prompt_of_target=np.arange(2), targets=np.array([0, 0, 0, 1, 1, 1])
    )
    low, high = np.argsort(multipliers(rows, np.asarray(training.targets), texts))
    moved = np.linalg.norm(CLAP(penalty_scale=50).fit(training).prototypes_ - 10 * unit_rows(texts), axis=1)
    assert moved[high] < moved[low]


def test_a_target_without_a_label_keeps_its_text(blobs: Blobs) -> None:
    training = training_of(blobs)
    hidden = dataclasses.replace(training, targets=np.where(training.targets == 1, -1, training.targets))
    fitted, start = CLAP().fit(hidden).prototypes_, CLAP(epochs=0).fit(hidden).prototypes_
    np.testing.assert_array_equal(fitted[1], start[1])
    assert (fitted[[0, 2]] != start[[0, 2]]).any(axis=1).all()


def test_lengths_of_images_and_texts_change_nothing(blobs: Blobs) -> None:
    training = training_of(blobs)
    long = dataclasses.replace(training, images=3 * training.images, texts=7 * blobs.texts)
    ours, theirs = CLAP().fit(training), CLAP().fit(long)
    np.testing.assert_allclose(
        ours.target_scores(blobs.test).values, theirs.target_scores(5 * blobs.test).values, atol=1e-3
    )


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(5, 100, (7, 5)), (256, 100, (7, 256)), (600, 100, (14, 256)), (600, 9, (8, 256)), (600, 1, (1, 256))],
)
def test_steps_fill_their_batches_and_end_in_time(count: int, most: int, expected: tuple[int, int]) -> None:
    steps = list(schedule(count, 7, 0.5, most, seed=3))
    assert (len(steps), len(steps[0].batch)) == expected
    assert len({len(step.batch) for step in steps}) == 1
    rates = [step.rate for step in steps]
    first = max(1, min(count // 256, most))
    assert set(rates[:first]) == {1e-5}
    assert (np.diff(rates[first:]) <= 0).all()
    assert max(rates[first:], default=0) < 0.5
    for start in range(0, len(steps), first):
        epoch = np.concatenate([step.batch for step in steps[start : start + first]])
        assert len(set(epoch.tolist())) == len(epoch)


def test_epochs_are_shuffled_by_the_seed() -> None:
    orders = [np.concatenate([step.batch for step in schedule(600, 3, 1, 99, seed)]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] != orders[2]).any()
    assert (orders[0][:512] != orders[0][512:1024]).any()


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"epochs": -1}, "epochs must be at least 0"),
        ({"penalty_scale": -1.0}, "penalty_scale must be at least 0"),
        ({"penalty_scale": np.inf}, "penalty_scale must be at least 0 and finite"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"text_norm": -1.0}, "text_norm must be positive"),
    ],
)
def test_parameters_out_of_range_are_refused(blobs: Blobs, params: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        CLAP(**params).fit(training_of(blobs))  # type: ignore[arg-type]


def test_it_needs_text(blobs: Blobs) -> None:
    with pytest.raises(ValueError, match="needs prompts"):
        CLAP().fit(dataclasses.replace(training_of(blobs), texts=None))


def test_prototypes_of_another_number_of_targets_are_refused(blobs: Blobs) -> None:
    arrays = CLAP(epochs=1).fit(training_of(blobs)).arrays()
    with pytest.raises(ValueError, match="prototypes must be 4 rows"):
        CLAP().restore(arrays, 4, mean())
