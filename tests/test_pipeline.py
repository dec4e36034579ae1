"""The story as a whole, on embeddings that need no model."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans

from fused_clip import pipeline
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import fusion, pairing, prompt, text
from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    KNeighbors,
    LinearProbe,
    NearestClassMean,
    StatA,
    TargetScores,
    ZeroShot,
)
from fused_clip.method.parts import Method
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import Reference
from fused_clip.metrics.calibration import brier_score
from fused_clip.model import format as model_format
from fused_clip.model.facts import TrainingFacts
from fused_clip.model.result import Result
from fused_clip.runner.build import make_method, make_references
from fused_clip.runner.config import Options, check
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.runner.test_config import composed


@dataclasses.dataclass
class FakeBackbone:
    """A backbone's name and what it was trained on; `BlobEmbedder` knows its embeddings."""

    name: str = "fake"
    trained_on: frozenset[str] = frozenset()
    labelled_classes: frozenset[str] = frozenset()
    vocabulary: frozenset[str] | None = None
    language: str | None = None


@dataclasses.dataclass
class BlobEmbedder:
    """Embeddings of the toy dataset: blobs for its images, a row for each text it knows."""

    blobs: Blobs
    asked: list[str] = dataclasses.field(default_factory=list)

    def images(
        self, backbone: object, images: Any, rows: NDArray[np.int64], **_: object
    ) -> NDArray[np.float32]:
        self.asked.append(images.name)
        return (self.blobs.train if images.name == "train" else self.blobs.test)[rows]

    def texts(self, backbone: object, texts: Sequence[str]) -> NDArray[np.float32]:
        names = ("cat", "dog", "truck", "animal", "vehicle")
        table = np.vstack([self.blobs.texts, self.blobs.texts[:2].mean(axis=0), self.blobs.texts[2]])
        ends = [next((i for i, name in enumerate(names) if name in t), 0) for t in texts]
        return table[ends].astype(np.float32)


def method(**params: Any) -> Method:
    defaults: dict[str, Any] = {
        "pairing": pairing.oracle,
        "pairing_uses_labels": True,
        "text": text.prompt,
        "fusion": fusion.mean(),
        "clusterer": KMeans(n_init=2),
        "classifier": ConstrainedCentroid(),
    }
    return Method(**{**defaults, **params})


@functools.cache
def options() -> Options:
    return check(composed())


def references_of(dataset: ImageDataset) -> list[Reference]:
    """Every reference of the package."""
    return make_references(options(), dataset)


def run(
    toy: ImageDataset,
    blobs: Blobs,
    strategy: Callable[[ImageDataset], Prompts] = prompt.task,
    backbone: FakeBackbone | None = None,
    references: Sequence[Reference] | None = None,
    **params: Any,
) -> Result:
    parts = (backbone or FakeBackbone(), BlobEmbedder(blobs), method(**params))
    asked = references_of(toy) if references is None else references
    return pipeline.run(toy, strategy(toy), *parts, references=asked)


STRATEGIES = [prompt.task, prompt.grouped, prompt.swapped, prompt.none, prompt.generic, prompt.hierarchical]


@pytest.mark.parametrize("classifier", [ConstrainedCentroid(), LinearProbe(), KNeighbors(), ZeroShot()])
def test_other_test_images_change_no_answer(toy: ImageDataset, blobs: Blobs, classifier: Classifier) -> None:
    """What is fitted, and what is said of an image, does not depend on the other test images."""
    moved = blobs.test.copy()
    moved[30:] *= -7
    labels = np.concatenate([toy.test.labels[:30], toy.test.labels[:29:-1]])
    other = dataclasses.replace(toy, test=dataclasses.replace(toy.test, labels=labels))
    one, two = (
        run(dataset, rows, references=[], classifier=classifier)
        for dataset, rows in ((toy, blobs), (other, dataclasses.replace(blobs, test=moved)))
    )
    for name in ("fused", "clusters", "predicted", "distances"):
        np.testing.assert_array_equal(getattr(one.train, name), getattr(two.train, name))
        np.testing.assert_array_equal(getattr(one.test, name)[:30], getattr(two.test, name)[:30])
    assert one.head is not None
    assert two.head is not None
    assert one.head.temperature == two.head.temperature
    assert not np.array_equal(one.test.fused[30:], two.test.fused[30:])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_classifies_separated_blobs(toy: ImageDataset, blobs: Blobs, strategy: Any) -> None:
    result = run(toy, blobs, strategy)
    assert result.metrics["test/accuracy"] == 1
    assert result.metrics["reference/image_only_accuracy"] == 1
    assert result.metrics["missing_targets"] == 0
    with_text = strategy is not prompt.none
    assert ("words_in_fusion" in result.metrics) == ("text_in_all" in result.metrics) == with_text
    assert ("text_in_all_against" in result.tags) == with_text
    assert ("train/prompt_spacing" in result.metrics) == (strategy not in (prompt.none, prompt.generic))
    assert ("reference/zero_shot_via_class_accuracy" in result.metrics) == (strategy is prompt.grouped)
    assert result.uses_labels


def test_the_result_is_complete_and_aligned(toy: ImageDataset, blobs: Blobs) -> None:
    result = run(toy, blobs)
    assert result.train.ids[0] == "train/0"
    assert len(result.train) == 120
    assert len(result.test) == 60
    np.testing.assert_array_equal(result.test.targets, toy.test.labels)
    fused = (blobs.train + blobs.texts[toy.train.labels]) / 2
    np.testing.assert_allclose(result.train.fused, fused, rtol=1e-6)
    np.testing.assert_array_equal(result.train.predicted, result.cluster_targets[result.train.clusters])
    assert np.isfinite(result.test.margins).all()
    assert (result.test.margins >= 0).all()
    assert result.texts == ("This is a cat", "This is a dog", "This is a truck")
    assert {"seconds/embed", "seconds/fit", "seconds/references"} <= set(result.metrics)


def test_the_metrics_are_plain_numbers(toy: ImageDataset, blobs: Blobs) -> None:
    for key, value in run(toy, blobs).metrics.items():
        assert isinstance(value, (int, float)), key
        assert np.isfinite(value), key


def test_task_and_swapped_agree_where_clusters_are_pure(toy: ImageDataset, blobs: Blobs) -> None:
    task, swapped = run(toy, blobs), run(toy, blobs, prompt.swapped)
    np.testing.assert_array_equal(task.test.predicted, swapped.test.predicted)


def test_the_purity_of_prompts_tells_whether_clusters_follow_them(toy: ImageDataset, blobs: Blobs) -> None:
    noise = functools.partial(pairing.noisy, fraction=0.5)
    loud = dataclasses.replace(blobs, texts=100 * blobs.texts)
    followed, ignored = (
        run(toy, some, pairing=noise, clusters_per_target=1).metrics for some in (loud, blobs)
    )
    assert followed["train/prompt_purity"] == 1
    assert followed["train/purity"] == pytest.approx(0.5, abs=0.01)
    assert ignored["train/prompt_purity"] < 1
    for strategy in (prompt.none, prompt.generic):
        assert "train/prompt_purity" not in run(toy, blobs, strategy).metrics


def test_generic_gives_the_partition_of_none(toy: ImageDataset, blobs: Blobs) -> None:
    generic, none = run(toy, blobs, prompt.generic), run(toy, blobs, prompt.none)
    np.testing.assert_array_equal(generic.train.clusters, none.train.clusters)
    assert generic.metrics["words_in_fusion"] == 0


def test_a_pairing_without_labels_never_sees_them(toy: ImageDataset, blobs: Blobs) -> None:
    def blind(images: NDArray[Any], texts: NDArray[Any], targets: object = None) -> NDArray[np.int64]:
        assert targets is None
        return pairing.zero_shot(images, texts)

    result = run(toy, blobs, pairing=blind, pairing_uses_labels=False, vote="prompt")
    assert not result.uses_labels
    assert result.metrics["test/accuracy"] > 0.9


def test_one_prompt_needs_no_pairing(toy: ImageDataset, blobs: Blobs) -> None:
    def fails(**kwargs: object) -> NDArray[np.int64]:
        raise AssertionError("asked for a pairing")

    for strategy in (prompt.none, prompt.generic):
        names = {"pairing": "noisy"}
        parts = (FakeBackbone(), BlobEmbedder(blobs), method(pairing=fails))
        result = pipeline.run(toy, strategy(toy), *parts, names=names)
        assert result.tags["pairing"] == "none"


@pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning")
def test_no_weight_for_the_image_leaves_accuracy_undefined(toy: ImageDataset, blobs: Blobs) -> None:
    result = run(toy, blobs, fusion=fusion.weighted(0.0))
    assert not [key for key in result.metrics if key.startswith("test/")]
    assert not {"words_in_fusion", "text_in_all", "train/prompt_spacing"} & set(result.metrics)
    assert result.metrics["train/purity"] == 1


def test_the_audit_can_be_left_out(toy: ImageDataset, blobs: Blobs) -> None:
    assert not [key for key in run(toy, blobs, references=()).metrics if key.startswith("reference/")]


@pytest.mark.parametrize(
    ("stated", "seen"),
    [
        ({}, ""),
        ({"trained_on": frozenset({"other/train"})}, ""),
        ({"trained_on": frozenset({"toy/train"})}, "3 of 3: cat, dog, truck"),
        ({"trained_on": frozenset({"toy/other"})}, "3 of 3: cat, dog, truck"),
        ({"labelled_classes": frozenset({"pickup_truck", "Dogs", "horse"})}, "2 of 3: dog, truck"),
    ],
)
def test_a_backbone_trained_on_labels_of_the_classes_is_said_so(
    toy: ImageDataset, blobs: Blobs, stated: dict[str, frozenset[str]], seen: str
) -> None:
    result = run(toy, blobs, backbone=FakeBackbone(**stated), references=())
    assert result.backbone_saw_labels == bool(seen)
    assert result.tags.get("classes_seen", "") == seen


def test_the_spacing_of_prompts_is_in_distances_of_neighbours(toy: ImageDataset, blobs: Blobs) -> None:
    result = run(toy, blobs, references=())
    fused, own = result.train.fused.astype(float), result.train.prompts
    tenth = [
        np.sort(np.linalg.norm(fused[own == prompt] - row, axis=1))[10]
        for row, prompt in zip(fused, own, strict=True)
    ]
    texts = blobs.texts / 2
    least = min(np.linalg.norm(texts[i] - texts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = least / np.median(tenth)
    assert result.metrics["train/prompt_spacing"] == pytest.approx(expected, rel=1e-5)
    shrunk = run(toy, blobs, references=(), text=functools.partial(text.shrunk, share=0.3))
    assert shrunk.metrics["train/prompt_spacing"] == pytest.approx(0.3 * expected, rel=1e-5)


KNOWN = ("this", "is", "a", "cat", "dog", "truck")


def told(
    toy: ImageDataset,
    blobs: Blobs,
    caplog: pytest.LogCaptureFixture,
    words: Sequence[str] = KNOWN,
    strategy: Any = prompt.task,
    **params: Any,
) -> str:
    """Warnings of a run with a backbone that was trained on these words and on the toy set."""
    small = FakeBackbone("small", trained_on=frozenset({"toy/train"}), vocabulary=frozenset(words))
    with caplog.at_level(logging.WARNING):
        run(toy, blobs, strategy, small, **params)
    return caplog.text


def from_elsewhere(dataset: ImageDataset, origin: str) -> ImageDataset:
    return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, origin=origin))


def test_nothing_is_warned_of_where_words_and_images_are_known(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    assert told(from_elsewhere(toy, "toy/other"), blobs, caplog) == ""


def test_unknown_words_are_warned_of(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    warning = "small was not trained on the words dog, truck: use backbone=open for photos."
    assert warning in told(toy, blobs, caplog, KNOWN[:-2])


@pytest.mark.parametrize("origin", ["user", "svhn/train"])
def test_unknown_images_are_warned_of_whatever_the_words(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    warning = "small was not trained on images of this dataset: use backbone=open for photos."
    assert warning in told(from_elsewhere(toy, origin), blobs, caplog)
    caplog.clear()
    warning = "not trained on the words truck or on images of this dataset: use backbone=open for photos."
    assert warning in told(from_elsewhere(toy, origin), blobs, caplog, KNOWN[:-1])


@pytest.mark.parametrize(("name", "foreign"), [("cat", ""), ("café", ""), ("кошка", "кошка"), ("🐱", "🐱")])
def test_letters_that_an_english_backbone_may_not_know_are_warned_of_in_every_run(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture, name: str, foreign: str
) -> None:
    named = dataclasses.replace(toy, class_names=(name, "dog", "truck"), groups={})
    english = FakeBackbone("large", language="English")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(named, blobs, prompt.task, english, references=())
        assert ("large reads English" in caplog.text) == bool(foreign)
        assert foreign in caplog.text


def test_prompts_that_the_backbone_embeds_alike_are_refused(toy: ImageDataset, blobs: Blobs) -> None:
    """The embedder knows neither name, and gives both the row of a cat."""
    named = dataclasses.replace(toy, class_names=("x", "y", "truck"), groups={})
    with pytest.raises(InputError, match=r"embeds these alike, got .'This is a x', 'This is a y'"):
        run(named, blobs, references=())


def test_underscores_and_punctuation_are_no_words(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    def marked(dataset: ImageDataset) -> Prompts:
        return prompt.custom(dataset, templates=['This is "_a_" {}_.'])

    assert told(toy, blobs, caplog, strategy=marked) == ""


def test_the_words_of_the_audits_prompts_are_checked_where_there_is_an_audit(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    groups = (*KNOWN[:4], "animal", "vehicle")
    assert told(toy, blobs, caplog, groups, prompt.grouped, references=()) == ""
    assert "the words dog, truck" in told(toy, blobs, caplog, groups, prompt.grouped)


def test_a_small_backbone_says_how_many_words_it_knows(
    toy: ImageDataset, blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(toy, blobs, backbone=FakeBackbone("small", vocabulary=frozenset(KNOWN)))
    assert "backbone=small was trained on 6 words: its figures are not OpenAI's ViT-B/32's." in caplog.text


def zero_shot_method(**params: Any) -> Method:
    return method(pairing=pairing.zero_shot, pairing_uses_labels=False, **params)


@pytest.mark.parametrize(
    ("strategy", "parts", "message"),
    [
        (prompt.swapped, zero_shot_method(), "pairing: .*prompt=swapped are not"),
        (prompt.swapped, zero_shot_method(vote="prompt"), "pairing: .*prompt=swapped are not"),
        (prompt.generic, zero_shot_method(vote="prompt"), "vote: 'prompt' needs a strategy"),
        (prompt.none, zero_shot_method(vote="prompt"), "vote: 'prompt' needs a strategy"),
        (prompt.task, method(vote="prompt"), "vote: 'prompt' needs a pairing without labels"),
        (prompt.task, method(clusters_per_target=41), "123 clusters, .* there are 120, got 41"),
        (prompt.task, method(clusterer=HDBSCAN(121)), "min_cluster_size: must be at most the 120"),
        (prompt.task, method(classifier=KNeighbors(121)), r"classifier\.k: must be at most the 120 labelled"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_before_embedding(
    toy: ImageDataset, blobs: Blobs, strategy: Any, parts: Method, message: str
) -> None:
    embedder = BlobEmbedder(blobs)
    with pytest.raises(InputError, match=message):
        pipeline.run(toy, strategy(toy), FakeBackbone(), embedder, parts)
    assert embedder.asked == []


def test_a_transductive_classifier_needs_a_batch_of_test_images(toy: ImageDataset, blobs: Blobs) -> None:
    alone = dataclasses.replace(toy.test, rows=toy.test.rows[:1], labels=toy.test.labels[:1])
    single = dataclasses.replace(toy, test=alone)
    embedder = BlobEmbedder(blobs)
    with pytest.raises(InputError, match=r"classifier: answers for all test images .* the test split has 1"):
        pipeline.run(single, prompt.task(single), FakeBackbone(), embedder, method(classifier=StatA()))
    assert embedder.asked == []
    result = run(toy, blobs, references=(), classifier=StatA())
    assert result.tags["transductive"] == "each answer depends on all test images"
    assert "transductive" not in run(toy, blobs, references=()).tags


class Counting(ConstrainedCentroid):
    """Notes the rows that it is asked to score."""

    asked: ClassVar[list[NDArray[Any]]] = []

    def target_scores(self, X: Any) -> TargetScores:
        self.asked.append(X)
        return super().target_scores(X)


def test_test_rows_are_scored_once(toy: ImageDataset, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "asked", [])
    result = run(toy, blobs, references=(), classifier=Counting())
    seen = np.concatenate(Counting.asked)
    times = [int((seen == row).all(axis=1).sum()) for row in blobs.test]
    assert times == [1] * len(blobs.test)
    assert result.head is not None
    probabilities = result.head.predict(blobs.test).probabilities
    assert probabilities is not None
    assert result.metrics["test/brier"] == pytest.approx(
        brier_score(probabilities, toy.test.labels), rel=1e-5
    )


ONE_BY_ONE = [
    f"{group}={path.stem}"
    for group in ("classifier", "fusion")
    for path in sorted(conf_dir().glob(f"{group}/*.yaml"))
]
GO_TOGETHER = {"classifier=mean_similarity": ["text=mean_similarity"]}


@pytest.mark.parametrize("option", ONE_BY_ONE)
@pytest.mark.parametrize("normalised", [False, True])
def test_every_classifier_and_fusion_works_from_training_to_prediction(
    toy: ImageDataset, blobs: Blobs, tmp_path: Path, option: str, normalised: bool
) -> None:
    flags = [f"fusion.{name}={str(normalised).lower()}" for name in ("normalize_inputs", "normalize_output")]
    flags += GO_TOGETHER.get(option, [])
    parts = make_method(check(composed(option, *flags, "clusterer=kmeans")))
    embedder = BlobEmbedder(blobs)
    some = [one for one in references_of(toy) if one.facts.name in ("rotated_text", "nearest_cluster_mean")]
    result = pipeline.run(toy, prompt.task(toy), FakeBackbone(), embedder, parts, references=some)
    assert result.metrics["test/accuracy"] == 1
    assert result.metrics["test/ece"] < 0.3
    fused = {"rotated_text"} if parts.classifier.uses_clusters else set()
    assert fused | {"nearest_cluster_mean"} == set(result.reference_predictions)
    assert result.head is not None
    training = TrainingFacts(dataset="toy", fingerprint="f", rows=120, uses_labels=True)
    model_format.write(tmp_path / "model", result.head, None, training)
    read, _, _ = model_format.read(tmp_path / "model")
    predicted, again = (head.predict(blobs.test) for head in (result.head, read))
    np.testing.assert_array_equal(predicted.answers, result.test.predicted)
    np.testing.assert_array_equal(predicted.answers, again.answers)
    np.testing.assert_array_equal(predicted.probabilities, again.probabilities)
    np.testing.assert_array_equal(predicted.clusters, again.clusters)
    assert result.train.fused.shape[1] == result.cluster_centers.shape[1] == result.test.fused.shape[1]


def test_a_classifier_of_labels_makes_a_run_that_uses_labels(toy: ImageDataset, blobs: Blobs) -> None:
    parts = {"vote": "prompt", "pairing": pairing.zero_shot, "pairing_uses_labels": False}
    assert not run(toy, blobs, references=(), **parts).uses_labels
    result = run(toy, blobs, references=(), classifier=NearestClassMean(), **parts)
    assert result.uses_labels
    assert (result.test.clusters == -1).all()


def test_a_classifier_of_text_needs_prompts(toy: ImageDataset, blobs: Blobs) -> None:
    with pytest.raises(InputError, match="classifier: needs prompts, and prompt=none has none"):
        run(toy, blobs, prompt.none, references=(), classifier=ZeroShot())
