"""Shrunk means between their two ends: the prompt and the class mean."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from fused_clip.method.classifier import ShrunkMean, Training, ZeroShot
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import l2_normalized
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

HARD = make_blobs(n_classes=4, spread=5.0)
TRAINING = Training(
    HARD.train, 4, texts=HARD.texts, prompt_of_target=np.arange(4), targets=HARD.train_targets
)


@given(st.lists(st.integers(0, 3), max_size=12), st.floats(0, 50), st.integers(0, 99))
def test_prototypes_are_those_of_a_loop(targets: list[int], strength: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(len(targets), 5)), rng.normal(size=(4, 5))
    training = Training(images, 4, texts=texts, prompt_of_target=np.arange(4), targets=np.array(targets, int))
    model = ShrunkMean(strength).fit(training)
    for kind in range(4):
        own = [
            row / np.linalg.norm(row) for row, target in zip(images, targets, strict=True) if target == kind
        ]
        text = texts[kind] / np.linalg.norm(texts[kind])
        n = len(own)
        blend = text if n == 0 else (n * np.mean(own, axis=0) + strength * text) / (n + strength)
        np.testing.assert_allclose(model.coef_[kind], blend / np.linalg.norm(blend), atol=1e-9)


def test_no_label_is_zero_shot() -> None:
    nothing = dataclasses.replace(TRAINING, targets=np.full(len(HARD.train), -1))
    expected = ZeroShot().fit(TRAINING).target_scores(HARD.test).values
    for strength in (0, 1, "auto"):
        scores = ShrunkMean(strength).fit(nothing).target_scores(HARD.test).values  # type: ignore[arg-type]
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_class_without_a_label_keeps_its_prompt() -> None:
    targets = np.where(HARD.train_targets == 2, -1, HARD.train_targets)
    model = ShrunkMean().fit(dataclasses.replace(TRAINING, targets=targets))
    np.testing.assert_allclose(model.coef_[2], l2_normalized(HARD.texts)[2], atol=1e-6)


def test_many_labels_and_no_strength_are_the_class_mean() -> None:
    unit = l2_normalized(HARD.train.astype(np.float64))
    means = l2_normalized(NearestCentroid().fit(unit, HARD.train_targets).centroids_)
    gaps = []
    for copies in (1, 10, 1000):
        many = dataclasses.replace(
            TRAINING, images=np.tile(HARD.train, (copies, 1)), targets=np.tile(HARD.train_targets, copies)
        )
        gaps.append(np.abs(ShrunkMean().fit(many).coef_ - means).max())
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-3
    np.testing.assert_allclose(ShrunkMean(strength=0).fit(TRAINING).coef_, means, atol=1e-9)
    without_text = dataclasses.replace(TRAINING, texts=None, prompt_of_target=None)
    np.testing.assert_allclose(ShrunkMean().fit(without_text).coef_, means, atol=1e-9)


def test_strength_is_the_first_best_on_validation_rows() -> None:
    targets = np.full(len(HARD.train), -1)
    kept = np.arange(len(HARD.train)) % 5 == 0
    targets[kept] = HARD.train_targets[kept]
    training = dataclasses.replace(TRAINING, targets=targets, random_state=1)
    split = validation_split(training)
    assert split is not None
    accuracies = {}
    for strength in (0.25, 1.0, 4.0, 16.0, 64.0):
        part = dataclasses.replace(training, images=split.images, targets=split.targets)
        found = ShrunkMean(strength).fit(part).target_scores(split.held_out).values.argmax(axis=1)
        accuracies[strength] = (found == split.held_out_targets).mean()
    best = max(accuracies, key=accuracies.__getitem__)
    assert best != 1
    model = ShrunkMean("auto").fit(training)
    assert model.chosen_ == {"strength": best}
    np.testing.assert_array_equal(model.coef_, ShrunkMean(best).fit(training).coef_)


@pytest.mark.parametrize("strength", [-1, True, None, "best"])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(InputError, match=r"classifier\.strength: must be a number"):
        ShrunkMean(strength)
