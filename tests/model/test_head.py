import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import (
    ConstrainedCentroid,
    LinearProbe,
    NearestClusterMean,
    TransClip,
    ZeroShot,
)
from fused_clip.method.fusion import Concatenation, LinearFusion, mean
from fused_clip.model.constraint import Constraint
from fused_clip.model.head import Head
from fused_clip.model.predictions import Predictions
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError
from tests.conftest import Blobs
from tests.model.conftest import NAMES, MakeHead, fitted, prompts_of


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"fusion": LinearFusion(normalize_inputs=True)},
        {"fusion": LinearFusion(normalize_output=True)},
        {"fusion": Concatenation(alpha=0.3)},
        {"text": False},
        {"classifier": NearestClusterMean()},
        {"classifier": LinearProbe()},
        {"classifier": ZeroShot()},
    ],
)
def test_a_head_predicts_as_the_model_that_it_is_of(
    params: dict[str, Any], blobs: Blobs, make_head: MakeHead
) -> None:
    predictions = make_head(**params).predict(blobs.test)
    model = fitted(blobs, **params)
    assignment = model.assign(blobs.test)
    np.testing.assert_array_equal(predictions.probabilities, model.predict_proba(blobs.test))
    assert predictions.targets.tolist() == [NAMES[target] for target in assignment.targets]
    np.testing.assert_array_equal(predictions.clusters, assignment.clusters)
    np.testing.assert_allclose(predictions.distances, assignment.distances, rtol=1e-5)
    np.testing.assert_allclose(predictions.margins, assignment.margins, rtol=1e-4)


def test_probabilities_go_with_the_answers(blobs: Blobs, make_head: MakeHead) -> None:
    predictions = make_head().predict(blobs.test)
    assert predictions.probabilities is not None
    assert predictions.confidences is not None
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(predictions.probabilities.argmax(axis=1), predictions.answers)
    np.testing.assert_array_equal(predictions.confidences, predictions.probabilities.max(axis=1))
    second = np.argsort(-predictions.probabilities, axis=1)[:, 1]
    np.testing.assert_array_equal(predictions.runners_up, second)


def test_scores_of_good_probabilities_are_low(blobs: Blobs, make_head: MakeHead) -> None:
    head = make_head()
    scores = head.calibration(head.classifier.target_scores(blobs.test), blobs.test_targets)
    assert scores.keys() == {"test/ece", "test/brier"}
    assert 0 <= scores["test/ece"] < 0.1
    assert 0 <= scores["test/brier"] < 0.1


def test_without_labels_a_head_is_uncalibrated(blobs: Blobs, make_head: MakeHead) -> None:
    head = make_head(calibrated=False)
    predictions = head.predict(blobs.test)
    assert predictions.probabilities is None
    assert predictions.confidences is None
    found = head.classifier.target_scores(blobs.test)
    assert head.calibration(found, blobs.test_targets) == {}
    np.testing.assert_array_equal(predictions.answers, make_head().predict(blobs.test).answers)
    record = next(predictions.records(threshold=0.9))
    assert (record["probability"], record["abstained"]) == (None, False)
    with pytest.raises(InputError, match="prior: needs a calibrated model"):
        constrained(head, prior={"cat": 0.5, "dog": 0.25, "truck": 0.25})


def constrained(head: Head, **knowledge: object) -> Head:
    from dataclasses import replace

    return replace(head, constraint=Constraint(**knowledge))  # type: ignore[arg-type]


def test_targets_that_are_not_possible_are_not_predicted(blobs: Blobs, make_head: MakeHead) -> None:
    narrow = constrained(make_head(), targets=["truck", "cat"])
    predictions = narrow.predict(blobs.test)
    assert narrow.names == ("cat", "truck")
    assert set(predictions.targets) == {"cat", "truck"}
    alone = constrained(make_head(), targets=["dog"]).predict(blobs.test)
    assert set(alone.targets) == {"dog"}
    assert (alone.runners_up == -1).all()
    assert np.isinf(alone.margins).all()
    np.testing.assert_array_equal(alone.probabilities, 1)
    record = next(alone.records())
    assert (record["runner_up"], record["margin"]) == (None, np.inf)


def test_narrowing_is_conditioning(blobs: Blobs, make_head: MakeHead) -> None:
    whole = make_head().predict(blobs.test).probabilities
    part = constrained(make_head(), targets=["cat", "dog"]).predict(blobs.test).probabilities
    assert whole is not None
    np.testing.assert_allclose(part, whole[:, :2] / whole[:, :2].sum(axis=1, keepdims=True), rtol=1e-6)


def test_a_prior_multiplies_what_is_said_of_targets_as_frequent_as_each_other(
    blobs: Blobs, make_head: MakeHead
) -> None:
    prior = {"cat": 0.9, "dog": 0.05, "truck": 0.05}
    plain = make_head().predict(blobs.test).probabilities
    shifted = constrained(make_head(), prior=prior).predict(blobs.test).probabilities
    assert plain is not None
    expected = plain * list(prior.values())
    np.testing.assert_allclose(shifted, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)
    same = constrained(make_head(), prior=dict.fromkeys(NAMES, 1 / 3)).predict(blobs.test).probabilities
    np.testing.assert_allclose(same, plain, rtol=1e-9)


def imbalanced(rng: np.random.Generator, counts: tuple[int, int]) -> tuple[Rows, IntArray]:
    """Two blobs that overlap."""
    targets = np.repeat([0, 1], counts)
    rows = rng.normal(size=(len(targets), 16))
    rows[:, 0] += 2.5 * targets
    return rows.astype(np.float32), targets


@pytest.fixture
def rare() -> Head:
    """A head trained on 19 times as many cats as dogs."""
    rows, targets = imbalanced(np.random.default_rng(0), (950, 50))
    texts = np.random.default_rng(1).normal(size=(2, 16)).astype(np.float32)
    model = PromptFusedClassifier(texts, {0: 0, 1: 1}, clusterer=KMeans(n_init=2), clusters_per_target=1)
    model.set_params(random_state=0).fit(rows, targets)
    return Head.of(model, prompts_of(("cat", "dog")))


def test_at_the_same_distance_a_prior_is_the_answer_however_frequent_targets_were(rare: Head) -> None:
    centers = rare.classifier.cluster_centers_ * 2 - rare.classifier.text_embeddings_  # where images are
    middle = centers.mean(axis=0, keepdims=True)
    for share in (0.5, 0.9, 0.05):
        found = constrained(rare, prior={"cat": share, "dog": 1 - share}).predict(middle).probabilities
        np.testing.assert_allclose(found, [[share, 1 - share]], rtol=1e-3)


@pytest.mark.parametrize("counts", [(1000, 1000), (1900, 100), (100, 1900)])
def test_the_prior_of_the_images_makes_better_probabilities(rare: Head, counts: tuple[int, int]) -> None:
    rows, targets = imbalanced(np.random.default_rng(2), counts)
    share = counts[0] / sum(counts)
    told = constrained(rare, prior={"cat": share, "dog": 1 - share})
    loss, plain = (-np.log(own(head.predict(rows), targets)).mean() for head in (told, rare))
    assert loss < plain + 1e-9
    divided = told.predict(rows).probabilities / np.array([0.95, 0.05])
    divided /= divided.sum(axis=1, keepdims=True)
    assert loss < -np.log(divided[np.arange(len(rows)), targets]).mean(), (
        "what training frequencies make of it"
    )


def own(predictions: Predictions, targets: IntArray) -> DoubleArray:
    """(m,) probability of each row's true target."""
    assert predictions.probabilities is not None
    found: DoubleArray = predictions.probabilities[np.arange(len(targets)), targets]
    return found


def test_groups_have_the_probability_of_their_members(blobs: Blobs, make_head: MakeHead) -> None:
    plain = make_head().predict(blobs.test)
    merged = constrained(make_head(), groups={"pet": ["dog", "cat"]})
    predictions = merged.predict(blobs.test)
    assert merged.names == ("pet", "truck")
    assert plain.probabilities is not None
    assert predictions.probabilities is not None
    np.testing.assert_allclose(predictions.probabilities[:, 0], plain.probabilities[:, :2].sum(axis=1))
    carried = fitted(blobs).cluster_targets_[predictions.clusters]
    np.testing.assert_array_equal(carried == 2, predictions.targets == "truck")


def test_an_uncalibrated_group_is_as_near_as_its_nearest_member(blobs: Blobs, make_head: MakeHead) -> None:
    head = make_head(calibrated=False)
    merged = constrained(head, groups={"pet": ["dog", "cat"]}).predict(blobs.test)
    np.testing.assert_array_equal(merged.clusters, head.predict(blobs.test).clusters)
    assert (merged.margins >= 0).all()


@pytest.mark.parametrize(
    ("knowledge", "message"),
    [
        (
            {"targets": ["cat", "dgo"]},
            r"targets: must name targets .* 'dgo'; choose from: cat, dog, truck .*mean 'dog'",
        ),
        ({"targets": []}, "targets: must leave a target"),
        ({"prior": {"cat": 0.9, "dog": 0.2, "truck": 0.1}}, "prior: must sum to 1, got 1.2"),
        ({"prior": {"cat": 0.9, "dog": 0.1}}, "prior: every possible target needs one, .*'truck'"),
        ({"prior": {"cat": 1.0, "dog": 0.0, "truck": 0.0}}, "prior: must be positive"),
        ({"prior": {"cat": float("nan"), "dog": 0.5, "truck": 0.5}}, "prior: must be positive"),
        ({"targets": ["cat"], "prior": {"cat": 0.5, "dog": 0.5}}, "prior: must name possible targets only"),
        ({"prior": {"bird": 1.0}}, "prior: must name targets of the model"),
        ({"groups": {"pet": ["cat", "bird"]}}, "target_map: must name targets of the model"),
        ({"groups": {"pet": ["cat"], "beast": ["cat"]}}, "target_map: .*'cat' is in 'pet' and 'beast'"),
        ({"groups": {"truck": ["cat"]}}, "target_map: must not name a group after a target"),
    ],
)
def test_knowledge_that_does_not_fit_is_refused(
    knowledge: dict[str, object], message: str, make_head: MakeHead
) -> None:
    with pytest.raises(InputError, match=message):
        constrained(make_head(), **knowledge)


def test_a_target_that_no_cluster_carries_can_not_be_asked_for(blobs: Blobs) -> None:
    model = fitted(blobs)
    head = Head.of(model, prompts_of((*NAMES, "bird")))
    assert head.names == NAMES
    with pytest.raises(InputError, match=r"a cluster carries, got \['bird'\]; choose from: cat, dog, truck"):
        constrained(head, targets=["bird"])


@given(st.sampled_from([(2, 15), (0,), (16,), (1, 16, 1)]))
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    arrays = {"cluster_centers": np.zeros((1, 16)), "cluster_targets": np.zeros(1, int)}
    head = Head(("a",), (), 16, mean(), ConstrainedCentroid().restore(arrays, 1, mean()), None)
    with pytest.raises(InputError, match=r"embeddings: must be floats of shape \(m, 16\)"):
        head.predict(np.zeros(shape))


def test_values_that_are_not_finite_are_refused(blobs: Blobs, make_head: MakeHead) -> None:
    with pytest.raises(InputError, match="finite"):
        make_head().predict(np.full_like(blobs.test, np.nan))


def test_a_model_whose_answers_depend_on_the_batch_refuses_one_image(
    blobs: Blobs, make_head: MakeHead
) -> None:
    together = make_head(classifier=TransClip(), calibrated=False)
    with pytest.raises(InputError, match=r"^images: must be two or more.*got 1\. Predict images together"):
        together.predict(blobs.test[:1])
    assert len(together.predict(blobs.test[:2]).answers) == 2
    assert len(make_head().predict(blobs.test[:1]).answers) == 1


def test_equal_scores_go_to_the_first_names() -> None:
    """The middle of three centroids: each is as near as the others."""
    centers = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    index = np.arange(3)
    classifier = ConstrainedCentroid().restore(
        {"cluster_centers": centers[::-1].copy(), "cluster_targets": index}, 3, mean()
    )
    head = Head(NAMES, (), 3, mean(), classifier, 1.0)
    predictions = head.predict(np.full((2, 3), 0.5))
    assert predictions.answers.tolist() == [0, 0]
    assert predictions.runners_up.tolist() == [1, 1]
    np.testing.assert_array_equal(predictions.margins, 0)


def grown(make_head: MakeHead, blobs: Blobs, **params: Any) -> tuple[Head, Head]:
    """A zero-shot head, and the same with a target whose text is that of the second, turned round."""
    head = make_head(classifier=ZeroShot(), **params)
    return head, head.with_target("fish", "This is a fish", -blobs.texts[[1]])


def test_a_target_is_added_with_its_name_and_text(blobs: Blobs, make_head: MakeHead) -> None:
    head, more = grown(make_head, blobs)
    assert head.names == NAMES
    assert more.names == (*NAMES, "fish")
    assert more.prompts[-1] == ("This is a fish",)
    assert more.temperature == head.temperature
    found = more.predict(-blobs.test[blobs.test_targets == 1])
    assert set(found.targets) == {"fish"}
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_a_constraint_to_some_targets_admits_an_added_one(blobs: Blobs, make_head: MakeHead) -> None:
    head = dataclasses.replace(
        make_head(classifier=ZeroShot()),
        constraint=Constraint(targets=("cat", "dog"), groups={"pet": ("cat", "dog")}),
    )
    more = head.with_target("fish", "This is a fish", -blobs.texts[[1]])
    assert more.names == ("pet", "fish")
    assert more.constraint.groups == head.constraint.groups


def test_a_prior_lacks_an_added_target(blobs: Blobs, make_head: MakeHead) -> None:
    prior = {"cat": 0.5, "dog": 0.3, "truck": 0.2}
    head = dataclasses.replace(make_head(classifier=ZeroShot()), constraint=Constraint(prior=prior))
    with pytest.raises(InputError, match=r"prior: every possible target needs one.*'fish'"):
        head.with_target("fish", "This is a fish", blobs.texts[[1]])


@pytest.mark.parametrize(
    ("name", "text", "option"),
    [
        ("cat", "This is another cat", "name"),
        ("pet", "This is a pet", "name"),
        (" ", "This is a fish", "name"),
        ("fish", "\t", "text"),
        ("fish", "This is a cat", "text"),
    ],
)
def test_names_and_texts_that_are_taken_or_blank_add_no_target(
    name: str, text: str, option: str, blobs: Blobs, make_head: MakeHead
) -> None:
    head = dataclasses.replace(
        make_head(classifier=ZeroShot()), constraint=Constraint(groups={"pet": ("cat", "dog")})
    )
    with pytest.raises(InputError) as error:
        head.with_target(name, text, blobs.texts[[1]])
    assert error.value.option == option
