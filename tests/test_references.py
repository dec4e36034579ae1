import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans

from fused_clip import PromptFusedClassifier, text
from fused_clip.references import Evidence, nearest_class_mean, nearest_cluster_mean, references
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


@pytest.fixture
def hard() -> Blobs:
    """Blobs that overlap, so that the references differ."""
    return make_blobs(n_classes=4, spread=4.0)


def test_each_reference_is_what_its_name_says(hard: Blobs) -> None:
    model = model_of(hard, hard.texts)
    accuracy = model.score(hard.test, hard.test_targets)
    scores = references(model, evidence_of(hard), accuracy, draws=2, seed=5)

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


def test_pure_clusters_reduce_the_method_to_nearest_image_means(hard: Blobs) -> None:
    far_apart = hard.texts * 100
    model = model_of(hard, far_apart)
    purity = (model.cluster_targets_[model.labels_] == hard.train_targets).mean()
    assert purity == 1
    np.testing.assert_array_equal(model.predict(hard.test), nearest_cluster_mean(model, evidence_of(hard)))


def test_without_text_there_is_no_text_to_contribute(hard: Blobs) -> None:
    scores = references(model_of(hard, None), evidence_of(hard), 0.5, draws=1, seed=0)
    assert "text_contribution" not in scores
    assert "reference/rotated_text_accuracy" not in scores


def test_one_prompt_for_all_contributes_nothing_by_identity(hard: Blobs) -> None:
    model = model_of(hard, hard.texts[:1])
    accuracy = model.score(hard.test, hard.test_targets)
    scores = references(model, evidence_of(hard), accuracy, draws=1, seed=0)
    assert scores["text_contribution"] == 0
    turned = clone(model).set_params(text_embeddings=text.rotated(hard.texts[:1], random_state=1))
    assert turned.fit(hard.train, hard.train_targets).score(hard.test, hard.test_targets) == accuracy


def test_an_undefined_accuracy_has_no_contribution(hard: Blobs) -> None:
    scores = references(model_of(hard, hard.texts), evidence_of(hard), None, draws=1, seed=0)
    assert "text_contribution" not in scores
    assert "reference/image_only_accuracy" in scores


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
    scores = references(model, grouped, 1.0, draws=1, seed=0)
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
