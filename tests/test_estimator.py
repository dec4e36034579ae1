"""`PromptFusedClassifier` on embeddings, alone and under scikit-learn's own checks."""

import dataclasses
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fused_clip import PromptFusedClassifier
from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    LinearProbe,
    NearestClassMean,
    NearestClusterMean,
    Training,
    ZeroShot,
)
from fused_clip.method.fusion import Concatenation, FunctionFusion, Fusion, LinearFusion
from tests.conftest import Blobs, Fixed, make_blobs
from tests.method.classifier.test_centroids import slow_assignment


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([PromptFusedClassifier(random_state=0)])
def test_without_text_it_is_a_scikit_learn_classifier(estimator: Any, check: Any) -> None:
    check(estimator)


def fitted(blobs: Blobs, **params: Any) -> PromptFusedClassifier:
    model = PromptFusedClassifier(blobs.texts, random_state=0, **params)
    return model.fit(blobs.train, blobs.train_targets)


def test_it_learns_separated_blobs(blobs: Blobs) -> None:
    model = fitted(blobs)
    assert model.score(blobs.test, blobs.test_targets) == 1
    assert model.cluster_centers_.shape == (6, 16)
    assert set(model.cluster_targets_) == {0, 1, 2}
    assert model.missing_targets_.size == 0


def test_training_rows_are_fused_as_paired(blobs: Blobs) -> None:
    model = fitted(blobs)
    expected = (blobs.train + blobs.texts[blobs.train_targets]) / 2
    np.testing.assert_allclose(model.fused_, expected, rtol=1e-6)
    np.testing.assert_array_equal(model.prompt_index_, blobs.train_targets)
    for cluster, center in enumerate(model.cluster_centers_):
        np.testing.assert_allclose(expected[model.labels_ == cluster].mean(axis=0), center, rtol=1e-5)


FUSIONS = [
    LinearFusion(),
    LinearFusion(image_weight=0.8, text_weight=0.2),
    Concatenation(alpha=0.4),
    FunctionFusion(function=np.maximum),
]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("plain", FUSIONS)
def test_predictions_follow_the_definition(normalize: bool, plain: Fusion) -> None:
    blobs = make_blobs(n_classes=4, spread=2.5)
    stands_for = np.array([2, 0, 3, 1])
    fuse = dataclasses.replace(plain, normalize_inputs=normalize, normalize_output=normalize)
    model = PromptFusedClassifier(blobs.texts, stands_for, fusion=fuse, random_state=0)
    model.fit(blobs.train, blobs.train_targets)
    expected = slow_assignment(
        blobs.test, model.fused_, model.labels_, model.cluster_targets_, blobs.texts, stands_for, fuse
    )
    np.testing.assert_array_equal(model.predict(blobs.test), [row[0] for row in expected])
    won = model.transform(blobs.test)
    for row, x, (_, prompt, cluster, distance, _) in zip(won, blobs.test, expected, strict=True):
        np.testing.assert_allclose(row, fuse(x[None], blobs.texts[prompt])[0], rtol=1e-4, atol=1e-5)
        assert np.linalg.norm(row - model.cluster_centers_[cluster]) == pytest.approx(distance, rel=1e-4)


CLASSIFIERS = [ConstrainedCentroid(), NearestClusterMean(), NearestClassMean(), LinearProbe(), ZeroShot()]


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda one: type(one).__name__)
def test_probabilities_go_with_the_answers(classifier: Classifier) -> None:
    hard = make_blobs(n_classes=4, spread=3.0)
    names = np.array(["d", "a", "c", "b"])
    stands_for = {name: prompt for prompt, name in enumerate(names.tolist())}
    model = PromptFusedClassifier(hard.texts, stands_for, classifier=classifier, random_state=0)
    model.fit(hard.train, names[hard.train_targets])
    probabilities = model.predict_proba(hard.test)
    assert probabilities.shape == (80, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(hard.test))
    own = probabilities[np.arange(80), np.searchsorted(model.classes_, names[hard.test_targets])]
    assert -np.log(own).mean() < np.log(4), "better than to know nothing"


def test_without_labels_there_are_no_probabilities(blobs: Blobs) -> None:
    nearest = np.argmax(blobs.train @ blobs.texts.T, axis=1)
    model = PromptFusedClassifier(blobs.texts, vote="prompt", random_state=0)
    assert hasattr(model, "predict_proba")
    model.fit(blobs.train, prompt_index=nearest)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        model.predict_proba(blobs.test)
    assert not hasattr(PromptFusedClassifier(calibrate=False), "predict_proba")
    assert not hasattr(fitted(blobs, calibrate=False), "predict_proba")


def test_a_partition_may_be_given_another_classifier(blobs: Blobs) -> None:
    model = fitted(blobs, clusterer=KMeans(n_init=1))
    for classifier in CLASSIFIERS:
        other = model.with_classifier(classifier, blobs.train, blobs.train_targets)
        anew = fitted(blobs, clusterer=KMeans(n_init=1), classifier=classifier)
        expected = anew.target_scores(blobs.test)
        np.testing.assert_array_equal(other.target_scores(blobs.test).values, expected.values)
        assert other.labels_ is model.labels_
        assert not hasattr(other, "predict_proba")
    assert hasattr(model, "predict_proba")
    assert isinstance(model.classifier_, ConstrainedCentroid)
    with pytest.raises(ValueError, match="LinearProbe requires y to be passed"):
        model.with_classifier(LinearProbe(), blobs.train)


def test_labels_are_given_to_classifiers_that_use_them_alone(blobs: Blobs) -> None:
    class Spy(ConstrainedCentroid):
        seen: ClassVar[list[object]] = []

        def fit(self, training: Training) -> Self:
            self.seen.append(training.targets)
            return super().fit(training)

    class Labelled(Spy):
        uses_labels = True
        seen: ClassVar[list[object]] = []

    fitted(blobs, classifier=Spy())
    assert set(Spy.seen) == {None}
    fitted(blobs, classifier=Labelled())
    np.testing.assert_array_equal(Labelled.seen[0], blobs.train_targets)
    nearest = np.argmax(blobs.train @ blobs.texts.T, axis=1)
    model = PromptFusedClassifier(blobs.texts, vote="prompt", classifier=Labelled(), random_state=0)
    with pytest.raises(ValueError, match="Labelled requires y to be passed"):
        model.fit(blobs.train, prompt_index=nearest)


def test_matched_clusters_are_named_one_to_one() -> None:
    """By hand: the majority of two clusters is target 0, and one of them must be target 1."""
    targets = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    clusters = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2])
    X = np.arange(12.0)[:, None]
    model = PromptFusedClassifier(clusterer=Fixed(clusters), clusters_per_target=1, vote="hungarian")
    model.fit(X, targets)
    assert model.cluster_targets_.tolist() == [0, 1, 2]
    by_label = PromptFusedClassifier(clusterer=Fixed(clusters), clusters_per_target=1).fit(X, targets)
    assert by_label.cluster_targets_.tolist() == [0, 0, 2]


def test_spare_clusters_are_left_out_of_a_matching() -> None:
    targets = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    clusters = np.array([0, 0, 0, 1, 1, 1, 2, -1])
    X = np.array([[0.0], [1], [2], [10], [11], [12], [5], [6]])
    model = PromptFusedClassifier(clusterer=Fixed(clusters), clusters_per_target=1, vote="hungarian")
    model.fit(X, targets)
    assert model.labels_.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    assert model.cluster_targets_.tolist() == [0, 1]
    np.testing.assert_array_equal(model.cluster_centers_, [[1.0], [11.0]])
    assert model.predict([[4.0], [7.0]]).tolist() == [0, 1]


def test_targets_may_be_names(blobs: Blobs) -> None:
    names = np.array(["truck", "cat", "dog"])
    y = names[blobs.train_targets]
    by_array = PromptFusedClassifier(blobs.texts, [1, 2, 0], random_state=0).fit(blobs.train, y)
    by_name = PromptFusedClassifier(blobs.texts, {"truck": 0, "cat": 1, "dog": 2}, random_state=0)
    by_name.fit(blobs.train, y)
    assert by_array.classes_.tolist() == ["cat", "dog", "truck"]
    np.testing.assert_array_equal(by_array.fused_, by_name.fused_)
    assert by_name.score(blobs.test, names[blobs.test_targets]) == 1


def test_a_mapping_may_name_targets_that_training_lacks(blobs: Blobs) -> None:
    seen = blobs.train_targets < 2
    model = PromptFusedClassifier(blobs.texts, {0: 0, 1: 1, 2: 2}, random_state=0)
    model.fit(blobs.train[seen], blobs.train_targets[seen])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.missing_targets_.tolist() == [2]
    assert len(model.cluster_targets_) == 6


def test_any_pairing_can_be_given(blobs: Blobs) -> None:
    index = np.zeros(len(blobs.train), dtype=int)
    model = PromptFusedClassifier(blobs.texts, random_state=0)
    model.fit(blobs.train, blobs.train_targets, prompt_index=index)
    np.testing.assert_allclose(model.fused_, (blobs.train + blobs.texts[0]) / 2, rtol=1e-6)


def test_voting_by_prompt_needs_no_labels(blobs: Blobs) -> None:
    nearest = np.argmax(blobs.train @ blobs.texts.T, axis=1)
    model = PromptFusedClassifier(blobs.texts, vote="prompt", random_state=0)
    model.fit(blobs.train, prompt_index=nearest)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(blobs.test, blobs.test_targets) > 0.9


def test_noise_takes_no_part(blobs: Blobs) -> None:
    rng = np.random.default_rng(0)
    outliers = rng.normal(size=(6, 16)).astype(np.float32) * 60
    X = np.vstack([blobs.train, outliers])
    y = np.concatenate([blobs.train_targets, np.zeros(6, dtype=int)])
    model = PromptFusedClassifier(blobs.texts, clusterer=HDBSCAN(min_cluster_size=10, copy=True)).fit(X, y)
    assert (model.labels_[-6:] == -1).all()
    for cluster, center in enumerate(model.cluster_centers_):
        np.testing.assert_allclose(model.fused_[model.labels_ == cluster].mean(axis=0), center, rtol=1e-4)
    assert model.score(blobs.test, blobs.test_targets) > 0.9


@pytest.mark.parametrize(
    "clusterer", [KMeans(n_init=2), AgglomerativeClustering(), GaussianMixture(covariance_type="diag")]
)
def test_any_clusterer_gets_the_number_of_clusters(blobs: Blobs, clusterer: Any) -> None:
    model = fitted(blobs, clusterer=clusterer, clusters_per_target=3)
    assert len(model.cluster_targets_) == 9


def test_it_works_inside_scikit_learn(blobs: Blobs) -> None:
    X, y = np.vstack([blobs.train, blobs.test]), np.concatenate([blobs.train_targets, blobs.test_targets])
    model = PromptFusedClassifier(blobs.texts, clusterer=KMeans(n_init=1), random_state=0)
    assert cross_val_score(model, X, y, cv=3).min() > 0.9
    chain = make_pipeline(StandardScaler(), clone(model), LogisticRegression()).fit(X, y)
    assert chain.score(X, y) > 0.9


def test_memory_returns_the_same_partition(blobs: Blobs, tmp_path: Any) -> None:
    memory = joblib.Memory(tmp_path, verbose=0)
    first, again = (fitted(blobs, memory=memory) for _ in range(2))
    np.testing.assert_array_equal(first.labels_, again.labels_)
    np.testing.assert_array_equal(first.labels_, fitted(blobs).labels_)


@pytest.mark.parametrize(
    ("params", "fit", "message"),
    [
        ({"vote": "majority"}, {}, "vote must be one of label, prompt, hungarian"),
        ({"clusters_per_target": 0}, {}, "clusters_per_target must be 'auto' or at least 1"),
        ({"clusters_per_target": 50}, {}, "150 clusters need at least as many rows, got n_samples = 120"),
        ({"text_embeddings": np.ones((3, 4))}, {}, r"must have shape \(p, 16\), got \(3, 4\)"),
        ({"text_embeddings": np.full((3, 16), np.nan)}, {}, "text_embeddings contains NaN"),
        ({"prompt_of_target": [0, 1]}, {}, "one prompt for each of the 3 targets, got 2"),
        ({"prompt_of_target": [0, 1, 9]}, {}, r"prompt_of_target must be rows .* in \[0, 3\), got 0 to 9"),
        ({"prompt_of_target": {0: 0, 1: 1}}, {}, "names no prompt for target 2"),
        ({}, {"prompt_index": [0, 1]}, r"prompt_index must have shape \(120,\)"),
        ({}, {"prompt_index": np.full(120, -1)}, r"prompt_index must be rows"),
        ({}, {"prompt_index": np.zeros(120)}, "prompt_index must be integers"),
        ({}, {"y": None}, "requires y to be passed"),
        ({"vote": "prompt"}, {"y": None}, "without y, prompt_index must name"),
        ({"vote": "prompt", "prompt_of_target": [0, 0, 1]}, {}, "one target of its own"),
        ({"text_embeddings": None, "vote": "prompt"}, {}, "vote='prompt' needs text_embeddings"),
        ({"text_embeddings": None}, {"prompt_index": np.zeros(120, dtype=int)}, "needs text_embeddings"),
        (
            {"clusterer": HDBSCAN(min_cluster_size=119, copy=True)},
            {},
            "must leave a cluster, and every row is noise",
        ),
    ],
)
def test_bad_arguments_are_named(
    blobs: Blobs, params: dict[str, Any], fit: dict[str, Any], message: str
) -> None:
    model = PromptFusedClassifier(**{"text_embeddings": blobs.texts, "random_state": 0, **params})
    with pytest.raises(ValueError, match=message):
        model.fit(**{"X": blobs.train, "y": blobs.train_targets, **fit})
