"""What runs without labels, what says that it can't, and that no label is ever looked at."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from fused_clip import figures, pipeline
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import pairing, prompt
from fused_clip.model.result import Result
from fused_clip.runner import artifacts, console
from fused_clip.runner.build import prepare
from fused_clip.runner.config import check
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.runner.test_config import composed
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method, references_of, zero_shot_method

LABEL_FREE = (
    "seconds/",
    "train/silhouette",
    "labels_used",
    "chosen/",
    "n_clusters",
    "n_noise",
    "missing_targets",
    "train/prompt_purity",
    "train/prompt_spacing",
)


@pytest.fixture
def unlabelled(toy: ImageDataset) -> ImageDataset:
    train, test = (
        dataclasses.replace(split, labels=np.full(len(split), -1)) for split in (toy.train, toy.test)
    )
    return dataclasses.replace(toy, train=train, test=test)


def run(dataset: ImageDataset, blobs: Blobs, strategy: Any = prompt.task) -> Result:
    parts = zero_shot_method(vote="prompt")
    asked = references_of(dataset)
    return pipeline.run(
        dataset, strategy(dataset), FakeBackbone(), BlobEmbedder(blobs), parts, references=asked
    )


def test_labels_change_nothing_but_the_scores(
    toy: ImageDataset, unlabelled: ImageDataset, blobs: Blobs
) -> None:
    blind, seen = run(unlabelled, blobs), run(toy, blobs)
    assert not blind.uses_labels
    for name in ("clusters", "predicted", "fused", "distances"):
        for split in ("train", "test"):
            np.testing.assert_array_equal(
                getattr(getattr(blind, split), name), getattr(getattr(seen, split), name)
            )
    assert all(key.startswith(LABEL_FREE) for key in blind.metrics)
    assert "train/silhouette" in blind.metrics
    assert set(blind.reference_predictions) == {"zero_shot", "nearest_cluster_mean"}
    np.testing.assert_array_equal(
        blind.reference_predictions["zero_shot"], seen.reference_predictions["zero_shot"]
    )


def test_groups_need_no_labels(unlabelled: ImageDataset, blobs: Blobs) -> None:
    result = run(unlabelled, blobs, prompt.grouped)
    assert result.target_names == ("animal", "vehicle")
    assert "zero_shot_via_class" in result.reference_predictions


def test_every_output_says_what_is_not_known(
    unlabelled: ImageDataset,
    blobs: Blobs,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.INFO):
        result = run(unlabelled, blobs)
    assert "Without labels these stay unknown: accuracy" in caplog.text
    assert result.tags["labels"] == "none"
    assert "purity" in result.tags["not_known_without_labels"]

    artifacts.write(result, tmp_path, seed=0, embeddings="fused")
    artifacts.write_metrics(result, tmp_path)
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert predictions["target"].isna().all()
    assert set(predictions["predicted"]) <= {"cat", "dog", "truck"}
    assert not artifacts.read(tmp_path, tmp_path / "store").test.labelled

    drawn = figures.draw(result, points=50, seed=0)
    assert list(drawn) == ["tsne", "tsne_train_cluster", "tsne_test_prediction"]
    for figure in drawn.values():
        written = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "no labels: targets not known" in written
        assert "wrong" not in written

    metrics = {**result.metrics, "seconds/total": 1.0}
    console.print_run(dataclasses.replace(result, metrics=metrics), tmp_path, [], "")
    printed = " ".join(capsys.readouterr().out.split())
    assert "Not computed, because there are no labels: accuracy" in printed
    assert "This run uses no labels" in printed


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (method(), "vote: 'label' needs labels, and there are none.*pairing=zero_shot vote=prompt"),
        (zero_shot_method(), "vote: 'label' needs labels"),
        (method(vote="prompt"), "pairing: this pairing needs labels"),
        (method(vote="prompt", pairing=pairing.noisy), "pairing: this pairing needs labels"),
    ],
)
def test_parts_that_need_labels_are_refused_before_embedding(
    unlabelled: ImageDataset, blobs: Blobs, parts: Any, message: str
) -> None:
    embedder = BlobEmbedder(blobs)
    with pytest.raises(InputError, match=message):
        pipeline.run(unlabelled, prompt.task(unlabelled), FakeBackbone(), embedder, parts)
    assert embedder.asked == []


@pytest.mark.parametrize("strategy", [prompt.swapped, prompt.none, prompt.generic])
def test_prompts_that_name_no_target_are_refused(
    unlabelled: ImageDataset, blobs: Blobs, strategy: Any
) -> None:
    with pytest.raises(InputError, match=r"^(pairing|vote): "):
        run(unlabelled, blobs, strategy)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "vote: 'label' needs labels"),
        (["vote=prompt"], "pairing: this pairing needs labels"),
        (["vote=prompt", "pairing=noisy"], "pairing: this pairing needs labels"),
        (["pairing=zero_shot"], "vote: 'label' needs labels"),
        (
            ["pairing=zero_shot", "vote=prompt", "classifier=linear_probe"],
            "classifier: this classifier needs labels",
        ),
    ],
)
def test_options_that_need_labels_are_refused_before_any_image_is_read(
    overrides: list[str], message: str
) -> None:
    """The folder is not there, which a look at it would find first."""
    unlabelled = ["dataset=imagefolder", "dataset.labels=none", "dataset.classes=[cat,dog]"]
    unlabelled += ["dataset.root=/no/such/folder"]
    with pytest.raises(InputError, match=message):
        prepare(check(composed(*unlabelled, *overrides)))
    with pytest.raises(InputError, match=r"^dataset\.root: "):
        prepare(check(composed(*unlabelled, "pairing=zero_shot", "vote=prompt")))
