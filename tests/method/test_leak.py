"""Every leak: off by default, what it changes, where it is refused, and that no model of it is saved."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fused_clip import pipeline
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import prompt
from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    GaussianDiscriminant,
    TargetScores,
    TipAdapterF,
    ZeroShot,
)
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.leak import COPIES, Leak, leaky_classifier, leaky_scores
from fused_clip.method.parts import Method
from fused_clip.model import saved
from fused_clip.model.result import Result
from fused_clip.runner.config import check
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.runner.test_config import composed
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method


class Seen(Classifier):
    """Keeps the rows that it is let choose on."""

    uses_labels, uses_clusters, chooses = True, False, frozenset({"settings", "epochs"})
    rows: dict[str, Any] = {}  # noqa: RUF012

    def fit(self, training: Any) -> "Seen":
        for what in ("settings", "epochs"):
            split = validation_split(training, what)  # type: ignore[arg-type]
            Seen.rows[what] = split
        self.n_targets_ = training.n_targets
        self.targets_ = np.arange(training.n_targets)
        return self

    def target_scores(self, X: Any) -> TargetScores:
        return TargetScores(np.zeros((len(X), self.n_targets_)))


def run(toy: ImageDataset, blobs: Blobs, parts: Method) -> Result:
    return pipeline.run(toy, prompt.task(toy), FakeBackbone(), BlobEmbedder(blobs), parts)


def test_no_leak_is_on_by_default() -> None:
    assert check(composed()).leak is None
    assert method().leak is None


@pytest.mark.parametrize(("leak", "what"), [("best_test_epoch", "epochs"), ("settings_on_test", "settings")])
def test_a_leak_lets_a_classifier_choose_on_test_rows_and_on_nothing_else(
    toy: ImageDataset, blobs: Blobs, leak: Leak, what: str
) -> None:
    run(toy, blobs, method(classifier=Seen(), leak=leak))
    np.testing.assert_array_equal(Seen.rows[what].held_out, blobs.test)
    np.testing.assert_array_equal(Seen.rows[what].held_out_targets, toy.test.labels)
    (other,) = {"settings", "epochs"} - {what}
    assert len(Seen.rows[other].held_out) < len(blobs.test)
    run(toy, blobs, method(classifier=Seen()))
    for split in Seen.rows.values():
        rows = {tuple(row) for row in blobs.train.tolist()}
        assert {tuple(row) for row in split.held_out.tolist()} <= rows


def test_clusters_on_test_puts_the_test_images_in_the_place_of_the_training_images(
    toy: ImageDataset, blobs: Blobs
) -> None:
    result = run(toy, blobs, method(leak="clusters_on_test"))
    assert result.train.ids == result.test.ids


def test_targets_of_test_rules_out_what_no_test_image_is() -> None:
    scores = TargetScores(np.zeros((4, 5)))
    ruled = leaky_scores("targets_of_test", scores, np.array([1, 3, 3, 1]))
    assert np.isfinite(ruled.values).all(axis=0).tolist() == [False, True, False, True, False]
    assert leaky_scores(None, scores, np.array([1, 3, 3, 1])) is scores


def test_copies_counted_counts_each_label_ten_times() -> None:
    leaky = leaky_classifier(method(classifier=GaussianDiscriminant(), leak="copies_counted"))
    assert leaky.get_params()["copies"] == COPIES
    assert leaky_classifier(method(classifier=GaussianDiscriminant())).get_params()["copies"] == 1


def test_prompts_on_test_shows_the_text_part_the_test_rows(toy: ImageDataset, blobs: Blobs) -> None:
    seen = []

    def looks(texts: Any, images: Any, targets: Any) -> Any:
        seen.append((images, targets))
        return texts

    run(toy, blobs, method(text=looks, text_uses_labels=True, leak="prompts_on_test"))
    np.testing.assert_array_equal(seen[0][0], blobs.test)
    np.testing.assert_array_equal(seen[0][1], toy.test.labels)
    run(toy, blobs, method(text=looks, text_uses_labels=True))
    np.testing.assert_array_equal(seen[1][0], blobs.train)


@pytest.mark.parametrize("leak", get_args(Leak))
def test_no_model_of_a_leak_is_saved_and_the_run_says_so(
    toy: ImageDataset, blobs: Blobs, leak: Leak, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fitting = {
        "best_test_epoch": {"classifier": TipAdapterF(epochs=1)},
        "settings_on_test": {"classifier": GaussianDiscriminant()},
        "copies_counted": {"classifier": GaussianDiscriminant()},
        "prompts_on_test": {"text": lambda texts, targets: texts, "text_uses_labels": True},
    }
    result = run(toy, blobs, method(leak=leak, **fitting.get(leak, {})))
    assert result.head is None
    assert result.tags["leak"] == leak
    assert f"leak={leak}: the method uses test labels" in caplog.text
    saved.save(result, toy.train.images, FakeBackbone(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("leak", "parts", "message"),
    [
        ("best_test_epoch", {"classifier": ZeroShot()}, "a classifier with epochs"),
        ("settings_on_test", {"classifier": ConstrainedCentroid()}, "a classifier that chooses settings"),
        ("prompts_on_test", {}, "a text part that uses labels"),
        ("clusters_on_test", {"classifier": ZeroShot()}, "a classifier of clusters"),
        ("copies_counted", {}, "a classifier that counts copies"),
    ],
)
def test_a_leak_that_would_change_nothing_is_refused(
    toy: ImageDataset, blobs: Blobs, leak: Leak, parts: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"leak: needs {message}"):
        run(toy, blobs, method(leak=leak, **parts))
