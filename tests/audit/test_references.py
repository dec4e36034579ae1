"""The references, each against what its name says, computed independently."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from fused_clip import PromptFusedClassifier
from fused_clip.audit.evidence import Run
from fused_clip.audit.references import Audit, audit, text_free_rival
from fused_clip.backbone.precomputed import UnknownTextError
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import pairing, prompt, text
from fused_clip.method.classifier import (
    Classifier,
    LinearProbe,
    NearestClassMean,
    NearestClusterMean,
    Training,
    ZeroShot,
)
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.fusion import Concatenation, Fusion, LinearFusion
from fused_clip.method.parts import Method, TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.method.reference import Reference, ReferenceFacts, ReferenceOptions
from fused_clip.runner.build import make_references
from fused_clip.runner.config import check
from fused_clip.store.partitions import StoreMemory
from tests.conftest import Blobs, Fixed, make_blobs, make_dataset
from tests.fakes import FakeBackbone
from tests.runner.test_config import composed
from tests.store.test_partitions import Shelf
from tests.test_pipeline import method

IntArray = NDArray[np.int64]
NAMES = ("cat", "dog", "truck", "van")
GROUPS = {"cat": "animal", "dog": "animal", "truck": "vehicle", "van": "vehicle"}


@functools.cache
def options() -> Any:
    return check(composed())


def dataset_of(blobs: Blobs) -> ImageDataset:
    return make_dataset([blobs.train_targets, blobs.test_targets], NAMES, GROUPS)


def run_of(blobs: Blobs, strategy: Callable[[ImageDataset], Prompts] = prompt.task, **params: Any) -> Run:
    """A fitted run on blobs of the four classes, as the pipeline gives it."""
    dataset = dataset_of(blobs)
    parts: Method = method(**{"clusterer": KMeans(n_init=2), "seed": 5, **params})
    prompts = strategy(dataset)

    def embed(some: Prompts) -> NDArray[np.float32]:
        rows = {f"This is a {name}": row for name, row in zip(NAMES, blobs.texts, strict=True)}
        rows |= {"This is a animal": blobs.texts[0], "This is a vehicle": blobs.texts[2]}
        return np.array([rows.get(members[0], blobs.texts[1]) for members in some.texts])

    def inputs(rows: NDArray[np.float32], some: Prompts, targets: IntArray) -> TextInputs:
        members = [row[None] for row in rows]
        return TextInputs(rows, members, some, blobs.train, targets, FakeBackbone())

    targets = prompts.targets(blobs.train_targets)
    texts = embed(prompts) if prompts.texts else np.empty((0, 0), np.float32)
    paired = parts.pair(blobs.train, texts, targets, prompts)
    index = None if paired is None else paired.prompts
    model = PromptFusedClassifier.of(parts, prompts, texts)
    model.fit(blobs.train, targets if parts.uses_labels(prompts) else None, prompt_index=index)
    predicted = model.predict(blobs.test)
    labels = (blobs.train_targets, blobs.test_targets)
    task = functools.partial(prompt.task, dataset)
    known = parts.labels.known(blobs.train_targets)
    return Run(parts, model, prompts, task, embed, blobs.train, blobs.test, *labels, predicted, known, inputs)


def audited(blobs: Blobs, run: Run, *names: str, draws: int = 1) -> Audit:
    """Evaluate references of the package; all of them where none is named."""
    known = make_references(options(), dataset_of(blobs))
    return audit(run, [one for one in known if not names or one.facts.name in names], draws=draws)


@pytest.fixture
def hard() -> Blobs:
    """Blobs that overlap, so that the references differ."""
    return make_blobs(n_classes=4, spread=4.0)


def refitted(run: Run, blobs: Blobs, **params: Any) -> PromptFusedClassifier:
    return clone(run.model).set_params(**params).fit(blobs.train, blobs.train_targets)


def cosine_nearest(rows: NDArray[Any], texts: NDArray[Any]) -> IntArray:
    return np.asarray((rows @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T).argmax(axis=1))


def test_each_reference_is_what_its_name_says(hard: Blobs) -> None:
    run = run_of(hard)
    scores, guesses, _ = audited(hard, run, draws=2)

    expected = {"zero_shot": cosine_nearest(hard.test, hard.texts)}
    means = np.stack([hard.train[hard.train_targets == target].mean(axis=0) for target in range(4)])
    expected["nearest_class_mean"] = np.linalg.norm(hard.test[:, None] - means, axis=2).argmin(axis=1)
    clusters = run.model.labels_
    means = np.stack([hard.train[clusters == cluster].mean(axis=0) for cluster in range(8)])
    nearest = np.linalg.norm(hard.test[:, None] - means, axis=2).argmin(axis=1)
    expected["nearest_cluster_mean"] = run.model.cluster_targets_[nearest]
    expected["image_only"] = refitted(run, hard, text_embeddings=None).predict(hard.test)
    training = Training(hard.train, 4, targets=hard.train_targets, random_state=5)
    probe = LinearProbe().fit(training)
    expected["linear_probe"] = probe.target_scores(hard.test).values.argmax(axis=1)
    turned = [refitted(run, hard, text_embeddings=text.rotated(hard.texts, seed)) for seed in (6, 7)]
    expected["rotated_text"] = turned[0].predict(hard.test)

    assert set(guesses) == set(expected)
    for name, predicted in expected.items():
        np.testing.assert_array_equal(guesses[name], predicted, err_msg=name)
        if name != "rotated_text":
            share = (predicted == hard.test_targets).mean()
            assert scores[f"reference/{name}_accuracy"] == pytest.approx(share)
    rotated = np.mean([one.score(hard.test, hard.test_targets) for one in turned])
    assert scores["reference/rotated_text_accuracy"] == pytest.approx(rotated)
    accuracy = (run.predicted == hard.test_targets).mean()
    assert scores["words_in_fusion"] == pytest.approx(accuracy - rotated)


def test_references_with_a_partition_are_scored_as_the_run_is(hard: Blobs) -> None:
    run = run_of(hard)
    scores, *_ = audited(hard, run, draws=2)
    turned = [refitted(run, hard, text_embeddings=text.rotated(hard.texts, seed)) for seed in (6, 7)]
    parted = {
        "image_only": [refitted(run, hard, text_embeddings=None).labels_],
        "zero_shot": [cosine_nearest(hard.train, hard.texts)],
        "rotated_text": [one.labels_ for one in turned],
    }
    for name, partitions in parted.items():
        ari = [adjusted_rand_score(hard.train_targets, clusters) for clusters in partitions]
        pure = [np.mean([_majority(hard.train_targets, c, row) for row in range(len(c))]) for c in partitions]
        assert scores[f"reference/{name}_ari"] == pytest.approx(np.mean(ari))
        assert scores[f"reference/{name}_purity"] == pytest.approx(np.mean(pure))
    assert {key for key in scores if key.endswith("_ari")} == {f"reference/{name}_ari" for name in parted}


def _majority(targets: IntArray, clusters: IntArray, row: int) -> bool:
    """Whether a row has the most frequent target of its cluster."""
    counts = np.bincount(targets[clusters == clusters[row]])
    return bool(targets[row] == counts.argmax())


def test_noise_is_left_out_of_a_references_partition(hard: Blobs) -> None:
    clusters = np.where(np.arange(len(hard.train)) % 5 == 0, -1, hard.train_targets)
    run = run_of(hard, prompt.none, clusterer=Fixed(clusters), clusters_per_target=1)
    scores, *_ = audited(hard, run, "image_only")
    assert scores["reference/image_only_ari"] == scores["reference/image_only_purity"] == 1


def test_pure_clusters_reduce_the_method_to_nearest_image_means(hard: Blobs) -> None:
    loud = dataclasses.replace(hard, texts=hard.texts * 100)
    run = run_of(loud)
    assert (run.model.cluster_targets_[run.model.labels_] == hard.train_targets).mean() == 1
    guesses = audited(loud, run, "nearest_cluster_mean").predictions
    np.testing.assert_array_equal(run.predicted, guesses["nearest_cluster_mean"])


def test_without_text_there_is_no_text_to_contribute(hard: Blobs) -> None:
    scores, guesses, tags = audited(hard, run_of(hard, prompt.none))
    assert not {"words_in_fusion", "text_in_all"} & set(scores)
    assert tags == {}
    assert "rotated_text" not in guesses
    np.testing.assert_array_equal(guesses["zero_shot"], cosine_nearest(hard.test, hard.texts))


@pytest.mark.parametrize("strategy", [prompt.swapped, prompt.generic])
def test_zero_shot_is_of_truthful_prompts(hard: Blobs, strategy: Any) -> None:
    guesses = audited(hard, run_of(hard, strategy), "zero_shot").predictions
    np.testing.assert_array_equal(guesses["zero_shot"], cosine_nearest(hard.test, hard.texts))


def test_one_prompt_for_all_contributes_nothing_by_identity(hard: Blobs) -> None:
    run = run_of(hard, prompt.generic)
    scores, guesses, _ = audited(hard, run, "rotated_text")
    assert scores["words_in_fusion"] == 0
    np.testing.assert_array_equal(guesses["rotated_text"], run.predicted)
    own = np.asarray(run.model.text_embeddings)
    turned = refitted(run, hard, text_embeddings=text.rotated(own, 6))
    np.testing.assert_array_equal(turned.predict(hard.test), run.predicted)


@pytest.mark.parametrize("kind", [Concatenation, LinearFusion])
def test_one_prompt_is_rotated_where_it_may_count(hard: Blobs, kind: type[Fusion]) -> None:
    run = run_of(hard, prompt.generic, fusion=kind(normalize_output=True))
    guesses = audited(hard, run, "rotated_text").predictions
    turned = refitted(run, hard, text_embeddings=text.rotated(np.asarray(run.model.text_embeddings), 6))
    np.testing.assert_array_equal(guesses["rotated_text"], turned.predict(hard.test))


def test_an_undefined_accuracy_has_no_contribution(hard: Blobs) -> None:
    run = dataclasses.replace(run_of(hard), predicted=None)
    scores, guesses, tags = audited(hard, run)
    assert "rotated_text" not in guesses
    assert not {"words_in_fusion", "text_in_all"} & set(scores)
    assert tags == {}
    assert "reference/image_only_accuracy" in scores
    assert "reference/rotated_text_ari" in scores


def test_groups_are_also_reached_through_their_classes(hard: Blobs) -> None:
    run = run_of(hard, prompt.grouped)
    scores, guesses, _ = audited(hard, run)
    via_class = np.array([0, 0, 1, 1])[cosine_nearest(hard.test, hard.texts)]
    np.testing.assert_array_equal(guesses["zero_shot_via_class"], via_class)
    truth = np.array([0, 0, 1, 1])[hard.test_targets]
    expected = (via_class == truth).mean()
    assert scores["reference/zero_shot_via_class_accuracy"] == pytest.approx(expected)
    np.testing.assert_array_equal(guesses["zero_shot"], cosine_nearest(hard.test, hard.texts[[0, 2]]))
    assert set(guesses["linear_probe"]) == {0, 1}


def test_a_target_missing_in_training_is_never_predicted_by_labels(hard: Blobs) -> None:
    seen = hard.train_targets != 1
    fewer = dataclasses.replace(hard, train=hard.train[seen], train_targets=hard.train_targets[seen])
    guesses = audited(fewer, run_of(fewer), "nearest_class_mean", "linear_probe").predictions
    assert set(guesses["nearest_class_mean"]) | set(guesses["linear_probe"]) <= {0, 2, 3}


def label_free(blobs: Blobs, **params: Any) -> Run:
    parts = {"vote": "prompt", "pairing": pairing.zero_shot, "pairing_uses_labels": False}
    return run_of(blobs, **parts, **params)


@pytest.mark.parametrize("vote", ["label", "prompt"])
def test_a_method_without_labels_is_measured_against_clusters_without_labels(hard: Blobs, vote: str) -> None:
    run = label_free(hard) if vote == "prompt" else run_of(hard)
    names = {"kmeans_hungarian", "image_only_hungarian"}
    assert names & set(audited(hard, run).predictions) == (names if vote == "prompt" else set())


def test_matched_clusters_are_those_of_the_images_alone(hard: Blobs) -> None:
    run = label_free(hard, clusterer=KMeans(n_init=3))
    guesses = audited(hard, run, "image_only_hungarian", "kmeans_hungarian").predictions
    for name, n_init in (("image_only_hungarian", 3), ("kmeans_hungarian", options().clusterer.n_init)):
        kmeans = KMeans(4, n_init=n_init, random_state=5).fit(hard.train)
        counts = np.zeros((4, 4), int)
        np.add.at(counts, (kmeans.labels_, hard.train_targets), 1)
        _, names = linear_sum_assignment(counts, maximize=True)
        np.testing.assert_array_equal(guesses[name], names[kmeans.predict(hard.test)], err_msg=name)


def test_clusters_named_by_matching_find_separated_blobs() -> None:
    easy = make_blobs(n_classes=4)
    guesses = audited(easy, label_free(easy), "kmeans_hungarian").predictions
    np.testing.assert_array_equal(guesses["kmeans_hungarian"], easy.test_targets)


WITH_LABELS = {"image_only", "nearest_class_mean", "linear_probe"}
MATCHED = {"image_only_hungarian", "kmeans_hungarian"}


def best_of(run: Run, scores: Mapping[str, float], names: set[str]) -> tuple[str, float]:
    """The most accurate of some references, and the run's accuracy minus its."""
    best = max(sorted(names), key=lambda name: scores[f"reference/{name}_accuracy"])
    accuracy = float((run.predicted == run.prompts.targets(run.test_labels)).mean())
    return best, accuracy - scores[f"reference/{best}_accuracy"]


@pytest.mark.parametrize("strategy", [prompt.task, prompt.swapped, prompt.generic, prompt.grouped])
def test_all_of_the_text_is_measured_against_the_best_without_text(hard: Blobs, strategy: Any) -> None:
    """Zero-shot and the run's own clusters, whose rows are fused with text, are no rivals without text."""
    run = run_of(hard, strategy)
    scores, _, tags = audited(hard, run)
    best, difference = best_of(run, scores, WITH_LABELS)
    assert tags == {"text_in_all_against": best}
    assert scores["text_in_all"] == pytest.approx(difference)


def test_without_training_labels_it_is_measured_against_matched_clusters(hard: Blobs) -> None:
    """The linear probe and the label vote are better here, and use what the run does without."""
    run = label_free(hard)
    scores, _, tags = audited(hard, run)
    best, difference = best_of(run, scores, MATCHED)
    assert tags == {"text_in_all_against": best}
    assert scores["text_in_all"] == pytest.approx(difference)
    assert best_of(run, scores, WITH_LABELS)[1] < difference


def test_labels_for_the_vote_alone_are_training_labels(hard: Blobs) -> None:
    run = run_of(hard, pairing=pairing.zero_shot, pairing_uses_labels=False)
    scores, _, tags = audited(hard, run)
    assert tags["text_in_all_against"] == best_of(run, scores, WITH_LABELS)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"classifier": ZeroShot()},
        {"classifier": ZeroShot(), "vote": "prompt", "pairing": pairing.zero_shot},
        {"vote": "hungarian", "pairing": pairing.zero_shot, "pairing_uses_labels": False},
    ],
)
def test_answers_without_labels_have_rivals_without_labels(hard: Blobs, change: dict[str, Any]) -> None:
    """Labels that the answers never saw, or that only name clusters, bring no supervised rival."""
    run = run_of(hard, **change)
    scores, _, tags = audited(hard, run)
    best, difference = best_of(run, scores, MATCHED)
    assert tags == {"text_in_all_against": best}
    assert scores["text_in_all"] == pytest.approx(difference)


@pytest.mark.parametrize("classifier", [NearestClassMean(), LinearProbe()])
def test_answers_without_text_have_no_contribution_of_text(hard: Blobs, classifier: Classifier) -> None:
    scores, predictions, tags = audited(hard, run_of(hard, classifier=classifier))
    assert not {"words_in_fusion", "text_in_all"} & set(scores)
    assert tags == {}
    assert not {"image_only", "rotated_text"} & set(predictions)


@pytest.mark.parametrize("names", [("zero_shot",), ("nearest_cluster_mean", "rotated_text")])
def test_without_a_rival_without_text_the_difference_is_absent(hard: Blobs, names: tuple[str, ...]) -> None:
    scores, _, tags = audited(hard, run_of(hard), *names)
    assert "text_in_all" not in scores
    assert tags == {}
    assert ("words_in_fusion" in scores) == ("rotated_text" in names)


@pytest.mark.parametrize(
    ("parts", "uses_labels", "rival"),
    [
        ({"fusion": Concatenation(alpha=0.2)}, "as the run", False),
        ({"classifier": NearestClusterMean()}, "as the run", False),
        ({"prompts": None, "classifier": NearestClusterMean()}, "as the run", True),
        ({"classifier": LinearProbe()}, "yes", True),
        ({"classifier": LinearProbe()}, "no", False),
        ({"classifier": ZeroShot()}, "yes", False),
    ],
)
def test_a_reference_of_the_users_is_a_rival_by_what_it_replaces(
    hard: Blobs, parts: dict[str, Any], uses_labels: str, rival: bool
) -> None:
    if "prompts" in parts:
        parts = {**parts, "prompts": prompt.none(dataset_of(hard))}
    own = own_reference(parts=parts, uses_labels=uses_labels)
    assert text_free_rival(own, run_of(hard)) == rival


def test_without_labels_no_label_is_looked_at(hard: Blobs) -> None:
    run = label_free(hard)
    seen = audited(hard, run).predictions
    unknown = [np.full(len(labels), -1) for labels in (run.train_labels, run.test_labels)]
    blind = audited(hard, dataclasses.replace(run, train_labels=unknown[0], test_labels=unknown[1]))
    assert blind.metrics == blind.tags == {}
    assert set(blind.predictions) == {"zero_shot", "nearest_cluster_mean"}
    for name, predicted in blind.predictions.items():
        np.testing.assert_array_equal(predicted, seen[name])


def own_reference(name: str = "mine", **content: Any) -> Reference:
    parts = content.pop("parts")
    replace = dict.fromkeys(parts, "x")
    replace = {("prompt" if key == "prompts" else key): value for key, value in replace.items()}
    body = {"title": name, "explanation": name, "uses_labels": "yes", "replace": replace, **content}
    return Reference(ReferenceFacts.of(name, body), ReferenceOptions.model_validate(body), parts)


@pytest.mark.parametrize(
    "parts",
    [
        {"fusion": Concatenation(alpha=0.2)},
        {"classifier": NearestClusterMean()},
        {"clusterer": SpectralClustering(n_neighbors=5)},
        {"fusion": LinearFusion(normalize_output=True), "classifier": NearestClusterMean()},
    ],
)
def test_any_part_may_be_replaced(hard: Blobs, parts: dict[str, Any]) -> None:
    run = run_of(hard)
    scores, guesses, _ = audit(run, [own_reference(parts=parts)], draws=1)
    expected = refitted(run, hard, **parts).predict(hard.test)
    np.testing.assert_array_equal(guesses["mine"], expected)
    assert scores["reference/mine_accuracy"] == (expected == hard.test_targets).mean()


def test_a_replaced_pairing_is_asked_anew(hard: Blobs) -> None:
    parts = {"pairing": pairing.zero_shot, "pairing_uses_labels": False}
    reference = dataclasses.replace(own_reference(parts={"pairing": pairing.zero_shot}), parts=parts)
    run = run_of(hard)
    guesses = audit(run, [reference], draws=1).predictions
    model = clone(run.model).fit(
        hard.train, hard.train_targets, prompt_index=cosine_nearest(hard.train, hard.texts)
    )
    np.testing.assert_array_equal(guesses["mine"], model.predict(hard.test))


def test_a_text_that_is_not_known_leaves_a_reference_out(
    hard: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(prompts: Prompts) -> NDArray[np.float32]:
        raise UnknownTextError("texts", "has no row for 'This is a cat'")

    run = dataclasses.replace(run_of(hard), embed=unknown)
    with caplog.at_level(logging.WARNING):
        guesses = audited(hard, run).predictions
    assert "zero_shot" not in guesses
    assert "rotated_text" in guesses, "the run's own text is known"
    assert "No reference zero_shot: texts: has no row for" in caplog.text


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets an item whenever a linear probe is fitted."""
    calls: list[str] = []
    fit = LinearProbe.fit

    def counted(self: LinearProbe, training: Training) -> LinearProbe:
        calls.append("fit")
        return fit(self, training)

    monkeypatch.setattr(LinearProbe, "fit", counted)
    return calls


def test_a_linear_probe_is_fitted_once_for_the_same_data(hard: Blobs, probes: list[str]) -> None:
    memory = StoreMemory(Shelf())
    cells: list[dict[str, Any]] = [
        {},
        {"strategy": prompt.swapped},
        {"strategy": prompt.none},
        {"clusterer": SpectralClustering(n_neighbors=5)},
        {"fusion": Concatenation()},
    ]
    found = [audited(hard, run_of(hard, memory=memory, **cell), "linear_probe") for cell in cells]
    assert len(probes) == 1
    for one in found[1:]:
        np.testing.assert_array_equal(one.predictions["linear_probe"], found[0].predictions["linear_probe"])
    audited(hard, run_of(hard, prompt.grouped, memory=memory), "linear_probe")
    assert len(probes) == 2, "groups are other targets"
    audited(hard, run_of(hard, memory=memory, seed=6), "linear_probe")
    assert len(probes) == 3, "other validation rows"


def test_rows_of_the_test_have_no_part_in_the_choice_of_a_penalty(hard: Blobs) -> None:
    chosen = audited(hard, run_of(hard), "linear_probe").predictions["linear_probe"]
    other = dataclasses.replace(
        hard,
        test=np.concatenate([hard.test, 9 * hard.test]),
        test_targets=np.concatenate([hard.test_targets, hard.test_targets[::-1]]),
    )
    again = audited(other, run_of(other), "linear_probe").predictions["linear_probe"]
    np.testing.assert_array_equal(again[: len(chosen)], chosen)
