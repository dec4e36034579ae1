"""Vectors instead of images, through backbone, store and pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fused_clip import pipeline
from fused_clip.backbone import Precomputed
from fused_clip.dataset import ImageDataset
from fused_clip.dataset.options import Captions
from fused_clip.method import prompt
from fused_clip.model.result import Result
from fused_clip.store import Store
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.fakes import FakeBackbone
from tests.loading import embeddings
from tests.test_pipeline import method, references_of

NAMES = ("cat", "dog", "truck")


@pytest.fixture
def arrays(blobs: Blobs) -> dict[str, Any]:
    names = np.array(NAMES)
    return {
        "train_vectors": blobs.train,
        "train_labels": names[blobs.train_targets],
        "test_vectors": blobs.test,
        "test_labels": names[blobs.test_targets],
        "text_vectors": blobs.texts,
        "text_labels": names,
    }


def load(folder: Path, arrays: dict[str, Any], **options: Any) -> ImageDataset:
    np.savez(folder / "a.npz", **arrays)
    return embeddings(
        path=str(folder / "a.npz"),
        captions=Captions(task="{}", grouped="{}", hierarchical="{} {group}", generic="it"),
        **options,
    )


def run(dataset: ImageDataset, folder: Path, strategy: Any = prompt.task, backbone: Any = None) -> Result:
    backbone = backbone or Precomputed(dataset)
    backbone.check()
    store = Store(folder / "store")
    references = references_of(dataset)
    return pipeline.run(dataset, strategy(dataset), backbone, store, method(), references=references)


def test_the_whole_story_runs_on_vectors(tmp_path, arrays, blobs):
    dataset = load(tmp_path, arrays)
    result = run(dataset, tmp_path)
    assert result.metrics["test/accuracy"] == 1
    assert "reference/zero_shot_accuracy" in result.metrics
    assert result.backbone == "precomputed"
    fused = (blobs.train + blobs.texts[blobs.train_targets]) / 2
    np.testing.assert_allclose(result.train.fused, fused, rtol=1e-6)


def test_no_image_is_embedded_or_kept(tmp_path, arrays):
    run(load(tmp_path, arrays), tmp_path)
    assert not list((tmp_path / "store").glob("images-*"))


def test_without_texts_only_what_needs_none_runs(tmp_path, arrays, caplog):
    bare = {key: array for key, array in arrays.items() if not key.startswith("text")}
    dataset = load(tmp_path, bare)
    metrics = run(dataset, tmp_path, prompt.none).metrics
    assert metrics["test/accuracy"] == 1
    assert "reference/nearest_class_mean_accuracy" in metrics
    assert "reference/zero_shot_accuracy" not in metrics
    assert "No reference zero_shot:" in caplog.text
    with pytest.raises(InputError, match=r"prompt: a prompt's vector must come with the data.*'cat'"):
        run(dataset, tmp_path)


def test_groups_without_the_texts_of_their_classes_have_no_reference_by_class(tmp_path, arrays, blobs):
    texts = {"text_vectors": [blobs.texts[:2].mean(0), blobs.texts[2]], "text_labels": ["animal", "vehicle"]}
    groups = {"animal": ["cat", "dog"], "vehicle": ["truck"]}
    metrics = run(load(tmp_path, arrays | texts, groups=groups), tmp_path, prompt.grouped).metrics
    assert "reference/zero_shot_accuracy" in metrics
    assert "reference/zero_shot_via_class_accuracy" not in metrics
    both = {key: [*arrays[key], *texts[key]] for key in texts}
    metrics = run(load(tmp_path, arrays | both, groups=groups), tmp_path, prompt.grouped).metrics
    assert "reference/zero_shot_via_class_accuracy" in metrics


class TextTower(FakeBackbone):
    trained_on: frozenset[str] = frozenset()
    vocabulary = None
    language = None

    def check(self) -> None:
        """Nothing can be wrong."""


def test_a_text_tower_embeds_the_prompts_if_its_width_is_right(tmp_path, arrays):
    dataset = load(tmp_path, arrays)
    result = run(dataset, tmp_path, backbone=TextTower(dim=16))
    assert result.backbone == "fake"
    narrow = TextTower(dim=12)
    with pytest.raises(InputError, match=r"backbone: must have width 16, the width of the data's vectors"):
        run(dataset, tmp_path, backbone=narrow)
    assert narrow.batches == []


def test_precomputed_refuses_images(toy):
    with pytest.raises(InputError, match=r"'precomputed' needs a dataset of vectors.*'toy'"):
        Precomputed(toy).check()


def test_the_fingerprint_is_of_texts_and_vectors(tmp_path, arrays):
    prints = [
        Precomputed(load(tmp_path, arrays | changed)).fingerprint
        for changed in (
            {},
            {"text_vectors": arrays["text_vectors"] + 1},
            {"text_labels": ["a", "b", "c"]},
            {},
        )
    ]
    assert prints[0] == prints[3]
    assert len(set(prints)) == 3
