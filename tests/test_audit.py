import dataclasses

import numpy as np
import pytest
from fused_clip.method.references import (
    Evidence,
    hungarian,
    linear_probe,
    nearest_class_mean,
    nearest_cluster_mean,
    references,
)
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from fused_clip import PromptFusedClassifier
from fused_clip.method import text
from tests.conftest import Blobs, make_blobs


def evidence_of(blobs: Blobs) -> Evidence:
    classes = np.arange(len(blobs.texts))
    return Evidence(
        blobs.train,
        blobs.test,
        blobs.train_targets,
        blobs.test_targets,
        blobs.texts,
        blobs.texts,
        classes,
    )


def model_of(blobs: Blobs, texts: object, **params: object) -> PromptFusedClassifier:
    names = dict.fromkeys(range(len(blobs.texts)), 0) if texts is None or len(texts) == 1 else None  # type: ignore[arg-type]
    model = PromptFusedClassifier(texts, names, clusterer=KMeans(n_init=2), random_state=0, **params)  # type: ignore[arg-type]
    return model.fit(blobs.train, blobs.train_targets)


class Fixed(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Gives the clusters it was made with."""

    def __init__(self, clusters: object) -> None:
        self.clusters = clusters

    def fit_predict(self, X: object, y: object = None) -> object:
        return self.clusters


@pytest.fixture
def hard() -> Blobs:
    """Blobs that overlap, so that the references differ."""
    return make_blobs(n_classes=4, spread=4.0)


def test_each_reference_is_what_its_name_says(hard: Blobs) -> None:
    model = model_of(hard, hard.texts)
    predicted = model.predict(hard.test)
    accuracy = (predicted == hard.test_targets).mean()
    scores, guesses = references(model, evidence_of(hard), predicted, draws=2, seed=5)

    unit = hard.texts / np.linalg.norm(hard.texts, axis=1, keepdims=True)
    zero_shot = (hard.test @ unit.T).argmax(axis=1)
    assert scores["reference/zero_shot_accuracy"] == pytest.approx((zero_shot == hard.test_targets).mean())

    means = np.stack([hard.train[hard.train_targets == target].mean(axis=0) for target in range(4)])
    nearest = np.linalg.norm(hard.test[:, None] - means, axis=2).argmin(axis=1)
    rival = scores["reference/nearest_class_mean_accuracy"]
    assert rival == pytest.approx((nearest == hard.test_targets).mean())

    alone = model_of(hard, None).score(hard.test, hard.test_targets)
    assert scores["reference/image_only_accuracy"] == pytest.approx(alone)

    rotated = [
        clone(model)
        .set_params(text_embeddings=text.rotated(hard.texts, random_state=seed))
        .fit(hard.train, hard.train_targets)
        .score(hard.test, hard.test_targets)
        for seed in (6, 7)
    ]
    assert scores["reference/rotated_text_accuracy"] == pytest.approx(np.mean(rotated))
    assert scores["text_contribution"] == pytest.approx(accuracy - np.mean(rotated))

    for name in ("zero_shot", "nearest_class_mean", "image_only", "linear_probe"):
        share = (guesses[name] == hard.test_targets).mean()
        assert scores[f"reference/{name}_accuracy"] == pytest.approx(share)
    assert (guesses["rotated_text"] == hard.test_targets).mean() == pytest.approx(rotated[0])


def test_references_that_part_the_training_rows_are_scored_as_the_run_is(hard: Blobs) -> None:
    model = model_of(hard, hard.texts)
    scores, _ = references(model, evidence_of(hard), model.predict(hard.test), draws=2, seed=5)
    unit = hard.texts / np.linalg.norm(hard.texts, axis=1, keepdims=True)
    turned = [
        clone(model)
        .set_params(text_embeddings=text.rotated(hard.texts, random_state=seed))
        .fit(hard.train, hard.train_targets)
        .labels_
        for seed in (6, 7)
    ]
    parted = {
        "image_only": [model_of(hard, None).labels_],
        "zero_shot": [(hard.train @ unit.T).argmax(axis=1)],
        "rotated_text": turned,
    }
    for name, partitions in parted.items():
        ari = [adjusted_rand_score(hard.train_targets, clusters) for clusters in partitions]
        pure = [np.mean([_majority(hard.train_targets, c, row) for row in range(len(c))]) for c in partitions]
        assert scores[f"reference/{name}_ari"] == pytest.approx(np.mean(ari))
        assert scores[f"reference/{name}_purity"] == pytest.approx(np.mean(pure))
    assert {key for key in scores if key.endswith("_ari")} == {f"reference/{name}_ari" for name in parted}


def _majority(targets: np.ndarray, clusters: np.ndarray, row: int) -> bool:
    """Whether a row has the most frequent target of its cluster."""
    counts = np.bincount(targets[clusters == clusters[row]])
    return bool(targets[row] == counts.argmax())


def test_noise_is_left_out_of_what_a_reference_parts(hard: Blobs) -> None:
    clusters = np.where(np.arange(len(hard.train)) % 5 == 0, -1, hard.train_targets)
    model = PromptFusedClassifier(None, dict.fromkeys(range(4), 0), clusterer=Fixed(clusters))
    model.fit(hard.train, hard.train_targets)
    scores, _ = references(model, evidence_of(hard), model.predict(hard.test), draws=1, seed=0)
    assert scores["reference/image_only_ari"] == scores["reference/image_only_purity"] == 1


def test_pure_clusters_reduce_the_method_to_nearest_image_means(hard: Blobs) -> None:
    far_apart = hard.texts * 100
    model = model_of(hard, far_apart)
    purity = (model.cluster_targets_[model.labels_] == hard.train_targets).mean()
    assert purity == 1
    np.testing.assert_array_equal(model.predict(hard.test), nearest_cluster_mean(model, evidence_of(hard)))


def test_without_text_there_is_no_text_to_contribute(hard: Blobs) -> None:
    model = model_of(hard, None)
    scores, _ = references(model, evidence_of(hard), model.predict(hard.test), draws=1, seed=0)
    assert "text_contribution" not in scores
    assert "reference/rotated_text_accuracy" not in scores


def test_one_prompt_for_all_contributes_nothing_by_identity(hard: Blobs) -> None:
    model = model_of(hard, hard.texts[:1])
    predicted = model.predict(hard.test)
    scores, guesses = references(model, evidence_of(hard), predicted, draws=1, seed=0)
    assert scores["text_contribution"] == 0
    np.testing.assert_array_equal(guesses["rotated_text"], predicted)
    turned = clone(model).set_params(text_embeddings=text.rotated(hard.texts[:1], random_state=1))
    np.testing.assert_array_equal(turned.fit(hard.train, hard.train_targets).predict(hard.test), predicted)


def test_an_undefined_accuracy_has_no_contribution(hard: Blobs) -> None:
    scores, guesses = references(model_of(hard, hard.texts), evidence_of(hard), None, draws=1, seed=0)
    assert "rotated_text" not in guesses
    assert "text_contribution" not in scores
    assert "reference/image_only_accuracy" in scores
    assert "reference/rotated_text_ari" in scores


def test_groups_are_also_reached_through_their_classes(hard: Blobs) -> None:
    target_of_class = np.array([0, 0, 1, 1])
    grouped = Evidence(
        hard.train,
        hard.test,
        target_of_class[hard.train_targets],
        target_of_class[hard.test_targets],
        hard.texts[[0, 2]],
        hard.texts,
        target_of_class,
    )
    model = PromptFusedClassifier(hard.texts[[0, 2]], clusterer=KMeans(n_init=2), random_state=0)
    model.fit(grouped.train, grouped.train_targets)
    scores, _ = references(model, grouped, model.predict(hard.test), draws=1, seed=0)
    unit = hard.texts / np.linalg.norm(hard.texts, axis=1, keepdims=True)
    via_class = target_of_class[(hard.test @ unit.T).argmax(axis=1)]
    expected = (via_class == grouped.test_targets).mean()
    assert scores["reference/zero_shot_via_class_accuracy"] == pytest.approx(expected)


def test_a_target_missing_in_training_is_never_the_nearest_mean(hard: Blobs) -> None:
    seen = hard.train_targets != 1
    without = Evidence(
        hard.train[seen],
        hard.test,
        hard.train_targets[seen],
        hard.test_targets,
        hard.texts,
        hard.texts,
        np.arange(4),
    )
    assert set(nearest_class_mean(without)) <= {0, 2, 3}


def test_a_linear_probe_parts_what_a_plane_parts(blobs: Blobs) -> None:
    np.testing.assert_array_equal(linear_probe(evidence_of(blobs)), blobs.test_targets)


def test_a_linear_probe_that_saw_one_target_predicts_it(hard: Blobs) -> None:
    one = dataclasses.replace(evidence_of(hard), train_targets=np.full(len(hard.train), 2))
    assert set(linear_probe(one)) == {2}


def test_clusters_named_by_matching_find_separated_blobs(blobs: Blobs) -> None:
    model = model_of(blobs, blobs.texts)
    np.testing.assert_array_equal(hungarian(model, evidence_of(blobs), KMeans(n_init=5)), blobs.test_targets)


def test_a_cluster_that_no_target_is_left_for_has_no_name(blobs: Blobs) -> None:
    model = model_of(blobs, blobs.texts)
    four = KMeans(n_clusters=4, n_init=5, random_state=0)
    fixed = Fixed(four.fit_predict(blobs.train))
    guesses = hungarian(model, evidence_of(blobs), fixed)
    assert set(np.unique(guesses)) == {-1, 0, 1, 2}


@pytest.mark.parametrize("vote", ["label", "prompt"])
def test_a_method_without_labels_is_measured_against_clusters_without_labels(hard: Blobs, vote: str) -> None:
    model = model_of(hard, hard.texts, vote=vote)
    scores, _ = references(model, evidence_of(hard), model.predict(hard.test), draws=1, seed=0)
    for name in ("kmeans_hungarian", "image_only_hungarian"):
        assert (f"reference/{name}_accuracy" in scores) == (vote == "prompt")
