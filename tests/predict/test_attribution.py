"""Shapley values of image and prompts, on fitted classifiers of blobs."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    GaussianDiscriminant,
    KNeighbors,
    SoftConstrainedCentroid,
    StatA,
    TipAdapter,
    Training,
    ZeroShot,
)
from fused_clip.method.fusion import Concatenation, Fusion, SphericalInterpolation, mean
from fused_clip.method.prompt import Prompts
from fused_clip.model.constraint import Constraint
from fused_clip.model.head import Head
from fused_clip.predict.attribution import Attribution, Contributions
from tests.conftest import Blobs, make_blobs

NAMES = ("cat", "dog", "truck")
PROMPTS = Prompts(tuple((name,) for name in NAMES), NAMES, np.arange(3), np.arange(3))
SLERP = SphericalInterpolation(0.5)


def fitted(
    blobs: Blobs,
    classifier: Classifier | None = None,
    fusion: Fusion | None = None,
    constraint: Constraint | None = None,
    *,
    text: bool = True,
    pairing: object = None,
) -> tuple[Head, Attribution | None]:
    model = PromptFusedClassifier(
        blobs.texts if text else None,
        dict(enumerate(range(3))),
        fusion=fusion,
        classifier=classifier,
        clusterer=KMeans(n_init=1, random_state=0),
        random_state=0,
    ).fit(blobs.train, blobs.train_targets, pairing)
    prompts = PROMPTS if text else Prompts((), NAMES, np.arange(3), None)
    head = Head.of(model, prompts)
    if constraint is not None:
        head = Head(**{**_fields(head), "constraint": constraint})
    return head, Attribution.of(head, blobs.train, model.labels_)


def _fields(head: Head) -> dict[str, object]:
    names = ("target_names", "prompts", "dim", "fusion", "classifier", "temperature")
    return {name: getattr(head, name) for name in names}


def split(head: Head, attribution: Attribution | None, rows: object) -> Contributions:
    assert attribution is not None
    found = head.predict(rows)
    return attribution.contributions(np.asarray(rows), found.answers, found.runners_up)


def lead(head: Head, row: object) -> np.ndarray:
    """Scores of one row, computed by itself."""
    return head.predict(np.asarray(row)[None]).scores[0]


CLASSIFIERS = [ConstrainedCentroid(), SoftConstrainedCentroid(), ZeroShot(), TipAdapter()]


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("fusion", [mean(), SLERP, Concatenation(0.3)], ids=lambda one: type(one).__name__)
def test_values_are_the_mean_over_all_orders_in_which_the_players_come(
    blobs: Blobs, classifier: Classifier, fusion: Fusion
) -> None:
    head, attribution = fitted(blobs, classifier, fusion)
    found = split(head, attribution, blobs.test)
    assert attribution is not None
    middle = blobs.train.astype(np.float64).mean(axis=0).astype(np.float32)
    predicted = head.predict(blobs.test)
    for row in (0, 25, 59):
        pair = predicted.answers[row], predicted.runners_up[row]

        def worth(players: frozenset[str], row: int = row, pair: tuple[int, int] = pair) -> float:
            model = head if "prompt" in players else attribution.without_text
            scores = lead(model, blobs.test[row] if "image" in players else middle)
            return float(scores[pair[0]] - scores[pair[1]])

        values = dict.fromkeys(("image", "prompt"), 0.0)
        for order in permutations(values):
            for place, player in enumerate(order):
                before = frozenset(order[:place])
                values[player] += (worth(before | {player}) - worth(before)) / 2
        np.testing.assert_allclose(found.image[row], values["image"], atol=1e-6)
        np.testing.assert_allclose(found.prompt[row], values["prompt"], atol=1e-6)
        both, neither = worth(frozenset(values)), worth(frozenset())
        np.testing.assert_allclose(found.image[row] + found.prompt[row], both - neither, atol=1e-6)


def test_words_cancel_over_clusters_of_one_prompt_in_a_linear_fusion_alone(blobs: Blobs) -> None:
    linear = split(*fitted(blobs), blobs.test)
    np.testing.assert_allclose(linear.prompt, 0, atol=1e-5)
    assert np.abs(linear.image).min() > 0.1
    assert np.abs(split(*fitted(blobs, fusion=SLERP), blobs.test).prompt).max() > 0.1


def test_the_text_is_taken_out_of_the_centroids_as_well(blobs: Blobs) -> None:
    """Where rows are fused with other prompts, it is the classifier fitted on rows with equal texts."""
    mixed = np.random.default_rng(0).integers(0, 3, len(blobs.train))
    model = PromptFusedClassifier(
        blobs.texts, dict(enumerate(range(3))), clusterer=KMeans(n_init=1, random_state=0), random_state=0
    ).fit(blobs.train, blobs.train_targets, mixed)
    training = Training(blobs.train, 3, clusters=model.labels_)
    without = model.classifier_.without_text(training)
    assert without is not None
    equal = np.tile(blobs.texts.astype(np.float64).mean(axis=0), (3, 1))
    own = Training(
        blobs.train,
        3,
        fused=(blobs.train + equal[0]) / 2,
        clusters=model.labels_,
        cluster_targets=model.classifier_.cluster_targets_,
        texts=equal,
        prompt_of_target=np.arange(3),
        fusion=mean(),
    )
    expected = ConstrainedCentroid().fit(own).target_scores(blobs.test).values
    np.testing.assert_allclose(without.target_scores(blobs.test).values, expected, atol=1e-5)
    assert not np.allclose(model.target_scores(blobs.test).values, expected, atol=1e-2)
    np.testing.assert_array_equal(without.targets_, model.classifier_.targets_)


def test_without_prompts_a_zero_shot_classifier_sets_no_target_apart(blobs: Blobs) -> None:
    head, attribution = fitted(blobs, ZeroShot())
    assert attribution is not None
    scores = attribution.without_text.predict(blobs.test).scores
    np.testing.assert_allclose(scores, np.tile(scores[:, :1], (1, 3)), atol=1e-6)
    found = split(head, attribution, blobs.test)
    own = head.predict(attribution.mean_image).scores[0]
    predicted = head.predict(blobs.test)
    np.testing.assert_allclose(
        found.prompt - found.image, own[predicted.answers] - own[predicted.runners_up], atol=1e-6
    )


def test_the_share_is_signed_bounded_and_undefined_without_a_difference() -> None:
    values = Contributions(np.array([3.0, 1.0, -1.0, 0.0, np.nan]), np.array([1.0, -1.0, 3.0, 0.0, np.nan]))
    np.testing.assert_allclose(values.prompt_share, [0.25, -0.5, 0.75, np.nan, np.nan])


@pytest.mark.parametrize(
    "classifier", [GaussianDiscriminant(), KNeighbors(), StatA()], ids=lambda one: type(one).__name__
)
def test_no_share_where_the_text_can_not_be_taken_away(blobs: Blobs, classifier: Classifier) -> None:
    assert fitted(blobs, classifier)[1] is None


@pytest.mark.parametrize("classifier", [None, TipAdapter()], ids=lambda one: type(one).__name__)
def test_no_share_without_text(blobs: Blobs, classifier: Classifier | None) -> None:
    assert fitted(blobs, classifier, text=False)[1] is None


def test_a_prior_changes_no_value_and_a_single_answer_has_no_runner_up() -> None:
    blobs = make_blobs(spread=2.0)
    prior = Constraint(prior={"cat": 0.4, "dog": 0.35, "truck": 0.25})
    (plain, attribution), (_, same) = (fitted(blobs, None, SLERP, one) for one in (None, prior))
    pair = plain.predict(blobs.test).answers, plain.predict(blobs.test).runners_up
    assert attribution is not None
    assert same is not None
    for one, other in zip(
        attribution.contributions(blobs.test, *pair), same.contributions(blobs.test, *pair), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)
    alone, attribution = fitted(blobs, None, SLERP, Constraint(targets=["dog"]))
    found = split(alone, attribution, blobs.test)
    assert np.isnan(found.image).all()
    assert np.isnan(found.prompt_share).all()


def test_no_rows_give_no_values(blobs: Blobs) -> None:
    found = split(*fitted(blobs), blobs.test[:0])
    assert found.image.shape == found.prompt.shape == (0,)
