"""The choice among methods: what decides it with labels, with one, and without."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from fused_clip import pipeline
from fused_clip.audit.choice import AnswerScores, Candidate, Evidence, Rule, choose, gather
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import fusion, pairing, prompt
from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    KNeighbors,
    LinearProbe,
    NearestClassMean,
    TargetScores,
    ZeroShot,
)
from fused_clip.method.clusterer import KMeansFromPrompts
from fused_clip.method.parts import Method, TextInputs
from fused_clip.runner.build import prepare
from fused_clip.runner.config import check
from fused_clip.support.errors import InputError
from tests.conftest import Blobs, make_dataset
from tests.runner.test_config import composed
from tests.test_pipeline import BlobEmbedder, FakeBackbone, method

NAMES = ("cat", "dog", "truck")
LABEL_FREE = {"pairing": pairing.zero_shot, "pairing_uses_labels": False, "vote": "prompt"}


class AlwaysFirst(Classifier):
    """AnswerScores target 0."""

    uses_clusters = False

    def fit(self, training: Any) -> "AlwaysFirst":
        self.n_targets_ = training.n_targets
        return self

    def target_scores(self, X: Any) -> TargetScores:
        return TargetScores(np.tile(-np.arange(self.n_targets_, dtype=float), (len(X), 1)))


def inputs_of(texts_off_by: float, labels: int | None, *, spread: float = 0.3, seed: int = 0) -> TextInputs:
    """Unit rows around three directions; prompts at an angle from them; some labels of each class."""
    rng = np.random.default_rng(seed)
    means = np.linalg.qr(rng.normal(size=(16, 6)))[0].T
    targets = np.repeat(range(3), 100)
    rows = means[targets] + spread * rng.normal(size=(300, 16)) / 4
    texts = np.cos(texts_off_by) * means[:3] + np.sin(texts_off_by) * means[3:]
    if texts_off_by > 1.5:
        texts = rng.normal(size=(3, 16))
    known = np.full(300, -1)
    count = 100 if labels is None else labels
    known[np.concatenate([np.flatnonzero(targets == one)[:count] for one in range(3)])] = np.repeat(
        range(3), count
    )
    dataset = make_dataset([np.repeat(range(3), 4), np.repeat(range(3), 4)], NAMES)
    prompts = prompt.task(dataset)
    rows32, texts32 = rows.astype(np.float32), texts.astype(np.float32)
    return TextInputs(texts32, [row[None] for row in texts32], prompts, rows32, known, FakeBackbone())


def candidates(*named: tuple[str, Method]) -> list[Candidate]:
    return [Candidate(name, one) for name, one in named]


ZERO_SHOT = ("zero_shot", method(classifier=ZeroShot(), **LABEL_FREE))
MEANS = ("means", method(classifier=NearestClassMean()))
FIRST = ("always_first", method(classifier=AlwaysFirst(), **LABEL_FREE))


@pytest.mark.parametrize("labels", [2, 8, None])
def test_labels_choose_what_is_right_on_held_out_rows(labels: int | None) -> None:
    inputs = inputs_of(2.0, labels)  # prompts that mean nothing
    choice = choose(candidates(ZERO_SHOT, FIRST, MEANS), inputs, 0)
    assert choice.candidate.name == "means"
    assert choice.scores["means"] > 0.9 > choice.scores["zero_shot"]
    assert choice.scores["always_first"] == pytest.approx(1 / 3)
    assert "labelled rows when held out" in choice.reason


def test_the_first_stays_where_it_is_good() -> None:
    choice = choose(candidates(ZERO_SHOT, MEANS), inputs_of(0.1, 4), 0)
    assert choice.candidate.name == "zero_shot"
    assert "labelled rows when held out" in choice.reason


@pytest.mark.parametrize(("angle", "chosen"), [(0.1, "zero_shot"), (2.0, "means")])
def test_one_label_leaves_zero_shot_only_where_it_is_mostly_wrong(angle: float, chosen: str) -> None:
    inputs = inputs_of(angle, 1, seed=4)
    right = (inputs.images[inputs.targets >= 0] @ inputs.texts.T).argmax(axis=1) == np.arange(3)
    assert (right.mean() >= 0.5) == (chosen == "zero_shot"), "the case must be what it stands for"
    choice = choose(candidates(ZERO_SHOT, MEANS, FIRST), inputs, 0)
    assert choice.candidate.name == chosen


def test_one_label_may_choose_clusters_too() -> None:
    inputs = inputs_of(1.2, 1, spread=0.9, seed=3)
    right = (inputs.images[inputs.targets >= 0] @ inputs.texts.T).argmax(axis=1) == np.arange(3)
    assert right.mean() >= 0.5, "the case must be what it stands for"
    choice = choose(candidates(ZERO_SHOT, MEANS, clusters_from_prompts()), inputs, 0)
    assert choice.candidate.name == "clusters"
    assert "means" not in choice.scores, "it does not answer by clusters"


def test_a_row_that_is_held_out_has_no_label() -> None:
    """Else its own nearest labelled row would be itself."""
    inputs = inputs_of(2.0, None)
    noise = np.random.default_rng(0).normal(size=inputs.images.shape).astype(np.float32)
    nearest = ("nearest", method(classifier=KNeighbors(k=1)))
    evidence = gather(candidates(ZERO_SHOT, nearest), dataclasses.replace(inputs, images=noise), 0)
    assert evidence.held_out["nearest"].shape == (300,)
    assert evidence.held_out["nearest"].mean() < 0.45


def right_on(first: int, second: int, third: int, of: int = 100) -> Evidence:
    """Held-out rows on which three candidates are right, each on the first of the rows."""
    counts = {"safe": first, "expected": second, "other": third}
    return Evidence({name: np.arange(of) < count for name, count in counts.items()}, None, {}, 0)


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ((85, 80, 70), "safe"),
        ((80, 80, 80), "safe"),
        ((79, 78, 78), "expected"),
        ((50, 60, 61), "expected"),  # one standard error of the difference ahead
        ((50, 60, 63), "other"),  # 1.76 ahead
        ((70, 60, 60), "safe"),  # ahead of what is expected
    ],
)
def test_what_is_expected_replaces_the_first_and_gives_way_to_the_best(
    counts: tuple[int, int, int], chosen: str
) -> None:
    assert Rule().decide(["safe", "expected", "other"], right_on(*counts))[0] == chosen


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((85, 80, 70), "right on 0.850 of 100 labelled rows when held out"),
        ((50, 60, 61), ", safe on 0.500, other on 0.610, which is not clearly better"),
        ((50, 60, 70), "right on 0.700 of 100 labelled rows when held out, safe on 0.500, expected on 0.600"),
    ],
)
def test_the_reason_names_what_was_compared(counts: tuple[int, int, int], reason: str) -> None:
    assert Rule().decide(["safe", "expected", "other"], right_on(*counts))[1].endswith(reason)


@pytest.mark.parametrize(
    ("coherence", "found_again", "agreement", "chosen"),
    [
        (0.5, 0.86, 0.7, "clusters"),
        (0.5, 0.84, 0.7, "safe"),
        (0.5, 0.9, 0.5, "safe"),
        (0.2, 0.9, 0.7, "safe"),
    ],
)
def test_without_labels_answers_must_be_coherent_near_and_found_again(
    coherence: float, found_again: float, agreement: float, chosen: str
) -> None:
    answers = {"safe": AnswerScores(0.8, 1), "clusters": AnswerScores(found_again, agreement)}
    assert Rule().decide(list(answers), Evidence({}, None, answers, coherence))[0] == chosen


def clusters_from_prompts() -> tuple[str, Method]:
    images_alone = fusion.weighted(1.0, normalize_inputs=True)
    parts = {"fusion": images_alone, "clusterer": KMeansFromPrompts(), "clusters_per_target": 1}
    return "clusters", method(classifier=ConstrainedCentroid(), **parts, **LABEL_FREE)


def blind(inputs: TextInputs) -> TextInputs:
    return dataclasses.replace(inputs, targets=np.full(len(inputs.images), -1))


def test_without_labels_clusters_that_the_prompts_point_at_are_chosen() -> None:
    inputs = blind(inputs_of(1.2, None, spread=0.9))
    choice = choose(candidates(ZERO_SHOT, clusters_from_prompts()), inputs, 0)
    assert choice.candidate.name == "clusters"
    assert choice.scores["clusters"] > choice.scores["zero_shot"] + 0.05


def test_without_labels_prompts_that_mean_nothing_keep_zero_shot() -> None:
    inputs = inputs_of(0.0, None)
    rng = np.random.default_rng(1)
    noise = dataclasses.replace(blind(inputs), images=rng.normal(size=inputs.images.shape).astype(np.float32))
    choice = choose(candidates(ZERO_SHOT, clusters_from_prompts()), noise, 0)
    assert choice.candidate.name == "zero_shot"
    assert "do not follow clusters" in choice.reason


def test_without_labels_one_answer_for_all_is_never_chosen() -> None:
    choice = choose(candidates(ZERO_SHOT, FIRST), blind(inputs_of(0.3, None)), 0)
    assert choice.candidate.name == "zero_shot"
    assert choice.scores["always_first"] == 0


def test_the_only_candidate_is_chosen_without_work() -> None:
    choice = choose(candidates(FIRST), inputs_of(0.3, None), 0)
    assert choice.candidate.name == "always_first"
    assert not choice.scores


def test_labels_that_are_not_known_can_not_matter() -> None:
    inputs = inputs_of(0.8, 3)
    again = choose(candidates(ZERO_SHOT, MEANS, ("probe", method(classifier=LinearProbe()))), inputs, 0)
    assert (
        again.scores
        == choose(candidates(ZERO_SHOT, MEANS, ("probe", method(classifier=LinearProbe()))), inputs, 0).scores
    )


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        (["labels.per_class=0"], "none"),
        (["labels.per_class=2"], "few"),
        (["labels.per_class=8"], "many"),
        ([], "many"),
    ],
)
def test_candidates_are_those_for_the_labels_there_are(overrides: list[str], kind: str) -> None:
    options = check(composed("method=auto", "dataset=digits", *overrides))
    made = [one.name for one in prepare(options).candidates]
    listed = list(options.method.candidates[kind])  # type: ignore[index]
    assert made[0] == listed[0] == "zero_shot"
    assert set(listed) - set(made) <= {"weighted_templates", "best_template"}, (
        "prompts of one text have no templates"
    )


def test_labels_that_only_chose_count_as_used(toy: ImageDataset, blobs: Blobs) -> None:
    parts, embedder = (prompt.task(toy), FakeBackbone()), BlobEmbedder(blobs)
    able = candidates(ZERO_SHOT, FIRST)
    result = pipeline.run(toy, *parts, embedder, ZERO_SHOT[1], candidates=able)
    assert not ZERO_SHOT[1].uses_labels(parts[0])
    assert result.uses_labels
    assert result.metrics["labels_used"] == 120
    assert result.tags["method_chosen"] == "zero_shot"
    assert result.tags["method_reason"]


def test_a_leak_is_not_measured_on_a_method_that_is_chosen() -> None:
    """Candidates without the leak would be left out, zero-shot first."""
    with pytest.raises(InputError, match="leak: needs a method that is not chosen"):
        prepare(check(composed("method=auto", "leak=settings_on_test", "dataset=digits")))


def test_a_candidate_of_no_known_option_is_refused() -> None:
    options = check(composed("method=auto", "+method.candidates.many.mine={classifier: nowhere}"))
    with pytest.raises(InputError, match=r"method\.candidates\.many\.mine\.classifier: must be an option"):
        prepare(options)
