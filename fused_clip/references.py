"""The audit: what else explains a run's accuracy, on the same embeddings and test rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import accuracy_score, pairwise_distances_argmin

from fused_clip import pairing, text
from fused_clip.classifier import cluster_means
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.fusion import LinearFusion

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """What the references are computed from.

    Parameters
    ----------
    train, test : (n, d) and (m, d) image embeddings.
    train_targets, test_targets : (n,) and (m,) target index, in [0, K).
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


def references(
    model: PromptFusedClassifier, evidence: Evidence, accuracy: float | None, *, draws: int, seed: int
) -> dict[str, float]:
    """Compute the reference accuracies of a fitted model, each in [0, 1].

    Parameters
    ----------
    model : fitted on positions 0..K-1 as targets.
    accuracy : the model's own test accuracy; None where it is undefined.
    draws : random rotations of the text to average over, at least 1.
    seed : drives the rotations; draw i takes ``seed + 1 + i``.

    Returns
    -------
    ``reference/...`` metrics and, for a model with text, ``text_contribution`` = `accuracy` minus
    ``reference/rotated_text_accuracy``.
    """
    found = {
        "nearest_class_mean": nearest_class_mean(evidence),
        "nearest_cluster_mean": nearest_cluster_mean(model, evidence),
        "image_only": image_only(model, evidence),
    }
    if evidence.truthful is not None:
        found["zero_shot"] = pairing.zero_shot(evidence.test, evidence.truthful)
    if evidence.class_prompts is not None and len(evidence.class_prompts) != len(model.classes_):
        nearest_class = pairing.zero_shot(evidence.test, evidence.class_prompts)
        found["zero_shot_via_class"] = evidence.target_of_class[nearest_class]
    scores = {
        f"reference/{name}_accuracy": float(accuracy_score(evidence.test_targets, predicted))
        for name, predicted in found.items()
    }
    if model.text_embeddings is not None and accuracy is not None:
        rotated = rotated_text_accuracy(model, evidence, accuracy, draws=draws, seed=seed)
        scores["reference/rotated_text_accuracy"] = rotated
        scores["text_contribution"] = accuracy - rotated
    return scores


def nearest_class_mean(evidence: Evidence) -> IntArray:
    """Predict the target whose training images have the nearest mean: (m,)."""
    seen, index = np.unique(evidence.train_targets, return_inverse=True)
    means = cluster_means(evidence.train, index, len(seen))
    return np.asarray(seen[_nearest(evidence.test, means)], dtype=np.int64)


def nearest_cluster_mean(model: PromptFusedClassifier, evidence: Evidence) -> IntArray:
    """Predict by the model's own clusters and votes, with means of the images alone: (m,)."""
    means = cluster_means(evidence.train, model.labels_, len(model.cluster_targets_))
    return np.asarray(model.cluster_targets_[_nearest(evidence.test, means)], dtype=np.int64)


def image_only(model: PromptFusedClassifier, evidence: Evidence) -> IntArray:
    """Predict by the same method without text, voting by label: (m,)."""
    baseline = clone(model).set_params(text_embeddings=None, vote="label")
    return np.asarray(baseline.fit(evidence.train, evidence.train_targets).predict(evidence.test))


def _nearest(rows: FloatArray, means: NDArray[np.float64]) -> IntArray:
    return np.asarray(pairwise_distances_argmin(rows.astype(np.float64), means), dtype=np.int64)


def rotated_text_accuracy(
    model: PromptFusedClassifier, evidence: Evidence, accuracy: float, *, draws: int, seed: int
) -> float:
    """Mean accuracy of the method with its text rotated at random, paired as the model was.

    One prompt for all shifts every fused row alike, whatever the prompt: under a linear fusion the
    accuracy is the model's own by identity, and is not computed again.
    """
    texts = np.asarray(model.text_embeddings)
    linear = model.fusion is None or isinstance(model.fusion, LinearFusion)
    if len(texts) == 1 and linear and not model.normalize_output:
        return accuracy
    scores = []
    for draw in range(draws):
        control = clone(model).set_params(text_embeddings=text.rotated(texts, random_state=seed + 1 + draw))
        control.fit(evidence.train, evidence.train_targets, prompt_index=model.prompt_index_)
        scores.append(accuracy_score(evidence.test_targets, control.predict(evidence.test)))
    return float(np.mean(scores))
