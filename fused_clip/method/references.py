"""The audit: what else explains a run's accuracy, on the same embeddings and test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, adjusted_rand_score, pairwise_distances_argmin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method import pairing, text
from fused_clip.method.classifier import cluster_means
from fused_clip.method.fusion import LinearFusion
from fused_clip.metrics.scores import purity
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class Evidence:
    """What the references are computed from.

    Parameters
    ----------
    train, test : (n, d) and (m, d) image embeddings.
    train_targets, test_targets : (n,) and (m,) target index, in [0, K); -1 where they are not known.
    truthful : (K, d) text embeddings, one truthful prompt a target; None where there are none.
    class_prompts : (C, d) text embeddings, one truthful prompt a class; None where there are none.
    target_of_class : (C,) target of each class.
    """

    train: FloatArray
    test: FloatArray
    train_targets: IntArray
    test_targets: IntArray
    truthful: FloatArray | None
    class_prompts: FloatArray | None
    target_of_class: IntArray


class Audit(NamedTuple):
    """What the references found.

    Parameters
    ----------
    metrics : ``reference/<name>_accuracy``, each in [0, 1]; of the references that part the training rows
        also ``reference/<name>_ari`` and ``_purity``, as the run's own; for a model with text
        ``text_contribution``, its own test accuracy minus ``reference/rotated_text_accuracy``.
    predictions : (m,) target index of each test row by reference, -1 for none; of the rotated text, those
        of the first draw.
    """

    metrics: dict[str, float]
    predictions: dict[str, IntArray]


def references(
    model: PromptFusedClassifier, evidence: Evidence, predicted: IntArray | None, *, draws: int, seed: int
) -> Audit:
    """Classify the test rows by everything that a fitted model is to be compared with.

    Parameters
    ----------
    model : fitted on positions 0..K-1 as targets.
    predicted : (m,) the model's own test predictions; None where they are undefined.
    draws : random rotations of the text to average over, at least 1.
    seed : drives the rotations; draw i takes ``seed + 1 + i``.
    """
    alone = image_only(model, evidence)
    found = {
        **label_free(model, evidence),
        "nearest_class_mean": nearest_class_mean(evidence),
        "image_only": alone.predict(evidence.test),
        "linear_probe": linear_probe(evidence),
    }
    parted = {"image_only": [alone.labels_]}
    if evidence.truthful is not None:
        parted["zero_shot"] = [pairing.zero_shot(evidence.train, evidence.truthful)]
    if model.vote == "prompt":
        # What a method that was given no label is to be measured against.
        found["image_only_hungarian"] = hungarian(model, evidence, model.clusterer)
        found["kmeans_hungarian"] = hungarian(model, evidence, KMeans(n_init=10))

    def accuracy(guesses: IntArray) -> float:
        return float(accuracy_score(evidence.test_targets, guesses))

    metrics = {f"reference/{name}_accuracy": accuracy(guesses) for name, guesses in found.items()}
    if model.text_embeddings is not None:
        rotated = rotated_text(model, evidence, draws=draws, seed=seed)
        parted["rotated_text"] = [one.labels_ for one in rotated]
        if predicted is not None:
            guesses = [one.predict(evidence.test) for one in rotated]
            found["rotated_text"] = guesses[0]
            control = float(np.mean([accuracy(some) for some in guesses]))
            metrics["reference/rotated_text_accuracy"] = control
            metrics["text_contribution"] = accuracy(predicted) - control
    return Audit(metrics | _structure(parted, evidence.train_targets), found)


def _structure(parted: Mapping[str, Sequence[IntArray]], targets: IntArray) -> dict[str, float]:
    """ARI and purity of partitions of the training rows, noise left out; mean over those of one name."""
    scores: dict[str, float] = {}
    for name, partitions in parted.items():
        kept = [(targets[clusters >= 0], clusters[clusters >= 0]) for clusters in partitions]
        if all(len(rows) for rows, _ in kept):
            ari = [adjusted_rand_score(rows, clusters) for rows, clusters in kept]
            scores[f"reference/{name}_ari"] = float(np.mean(ari))
            scores[f"reference/{name}_purity"] = float(np.mean([purity(*one) for one in kept]))
    return scores


def label_free(model: PromptFusedClassifier, evidence: Evidence) -> dict[str, IntArray]:
    """Classify the test rows by the references that use no label of their own: (m,) target index by name."""
    found = {"nearest_cluster_mean": nearest_cluster_mean(model, evidence)}
    if evidence.truthful is not None:
        found["zero_shot"] = pairing.zero_shot(evidence.test, evidence.truthful)
    if evidence.class_prompts is not None and len(evidence.class_prompts) != len(model.classes_):
        nearest_class = pairing.zero_shot(evidence.test, evidence.class_prompts)
        found["zero_shot_via_class"] = evidence.target_of_class[nearest_class]
    return found


def nearest_class_mean(evidence: Evidence) -> IntArray:
    """Predict the target whose training images have the nearest mean: (m,)."""
    seen, index = np.unique(evidence.train_targets, return_inverse=True)
    means = cluster_means(evidence.train, index, len(seen))
    return np.asarray(seen[_nearest(evidence.test, means)], dtype=np.int64)


def nearest_cluster_mean(model: PromptFusedClassifier, evidence: Evidence) -> IntArray:
    """Predict by the model's own clusters and votes, with means of the images alone: (m,)."""
    means = cluster_means(evidence.train, model.labels_, len(model.cluster_targets_))
    return np.asarray(model.cluster_targets_[_nearest(evidence.test, means)], dtype=np.int64)


def image_only(model: PromptFusedClassifier, evidence: Evidence) -> PromptFusedClassifier:
    """Fit the same method without text, voting by label."""
    baseline: PromptFusedClassifier = clone(model).set_params(text_embeddings=None, vote="label")
    return baseline.fit(evidence.train, evidence.train_targets)


def _nearest(rows: FloatArray, means: DoubleArray) -> IntArray:
    return np.asarray(pairwise_distances_argmin(rows.astype(np.float64), means), dtype=np.int64)


def rotated_text(
    model: PromptFusedClassifier, evidence: Evidence, *, draws: int, seed: int
) -> list[PromptFusedClassifier]:
    """Fit the method with its text rotated at random, paired as the model was, once for each draw.

    One prompt for all shifts every fused row alike, whatever the prompt: under a linear fusion the model is
    its own control by identity, and is not fitted again.
    """
    texts = np.asarray(model.text_embeddings)
    linear = model.fusion is None or isinstance(model.fusion, LinearFusion)
    if len(texts) == 1 and linear and not model.normalize_output:
        return [model]
    controls = []
    for draw in range(draws):
        control = clone(model).set_params(text_embeddings=text.rotated(texts, random_state=seed + 1 + draw))
        controls.append(control.fit(evidence.train, evidence.train_targets, prompt_index=model.prompt_index_))
    return controls


def linear_probe(evidence: Evidence) -> IntArray:
    """Predict by logistic regression on the standardised images: (m,).

    The penalty is scikit-learn's default, C = 1; nothing is tuned.
    """
    seen = np.unique(evidence.train_targets)
    if len(seen) == 1:
        return np.full(len(evidence.test), seen[0])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return np.asarray(probe.fit(evidence.train, evidence.train_targets).predict(evidence.test))


def hungarian(model: PromptFusedClassifier, evidence: Evidence, clusterer: Any) -> IntArray:
    """Predict by clusters of the images alone, one a target, named by the Hungarian method: (m,).

    The clusters and the choice among them use no label; the one-to-one matching to names uses the training
    labels. A cluster that is left without a name predicts -1.
    """
    alone = clone(model).set_params(
        text_embeddings=None, vote="label", clusters_per_target=1, clusterer=clusterer
    )
    alone.fit(evidence.train, evidence.train_targets)
    kept = alone.labels_ >= 0
    counts = np.zeros((len(alone.cluster_targets_), len(alone.classes_)), dtype=np.int64)
    np.add.at(counts, (alone.labels_[kept], evidence.train_targets[kept]), 1)
    names = np.full(len(counts), -1)
    clusters, targets = linear_sum_assignment(counts, maximize=True)
    names[clusters] = targets
    return np.asarray(names[alone.assign(evidence.test).clusters], dtype=np.int64)
