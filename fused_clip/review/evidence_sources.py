"""What a training image's target is by each source of evidence, its own label left out."""

from dataclasses import replace

import numpy as np
from scipy.special import log_softmax

from fused_clip.method.classifier import (
    Classifier,
    GaussianDiscriminant,
    KNeighbors,
    ShrunkMean,
    Training,
    out_of_fold_scores,
)
from fused_clip.method.fusion import unit_rows
from fused_clip.metrics.calibration import fit_temperature
from fused_clip.review.cluster_vote import ClusterVote
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

# What each name stands for, in the order of the table.
EXPLAINED = {
    "clusters": "labels of the run's cluster whose mean image is nearest",
    "neighbors": "labels of the most similar images",
    "means": "the most similar class mean",
    "discriminant": "linear discriminant analysis",
    "prompts": "the most similar prompt",
}


def sources(
    images: Rows,
    targets: IntArray,
    clusters: IntArray,
    n_targets: int,
    prompts: Rows | None = None,
    seed: int = 0,
) -> dict[str, DoubleArray]:
    """Log-probabilities (n, K) of every target by each source, keyed as `EXPLAINED`.

    Sources that learn from labels are fitted on four fifths of the images and asked about the others, five
    times, so that no image's own label is counted. Prompts use no label. Each source is calibrated by a
    temperature that is fitted to the given labels.

    Parameters
    ----------
    images : (n, d) image embeddings.
    targets : (n,) target of the given label, in [0, K).
    clusters : (n,) cluster of each image, in [0, k); -1 is noise.
    n_targets : K, at least 2.
    prompts : (K, d) text row of the prompt of each target; None for no such source.
    seed : draws the folds.
    """
    given = Training(images, n_targets, targets=targets, random_state=seed)
    # Folds are drawn evenly over the clusters; for the sources that use none, over the labels.
    found = {
        "clusters": _out_of_fold(ClusterVote(), given, clusters),
        "neighbors": _out_of_fold(KNeighbors(), given, targets),
        "means": _out_of_fold(ShrunkMean(), given, targets),
        "discriminant": _out_of_fold(GaussianDiscriminant(), given, targets),
    }
    if prompts is not None:
        found["prompts"] = unit_rows(images) @ unit_rows(prompts).T
    return {name: _calibrated(scores, targets) for name, scores in found.items()}


def _out_of_fold(classifier: Classifier, given: Training, clusters: IntArray) -> DoubleArray:
    votes = np.zeros(clusters.max() + 1, dtype=np.int64)  # of the whole set, which no source may use
    return out_of_fold_scores(classifier, replace(given, clusters=clusters, cluster_targets=votes))


def _calibrated(scores: DoubleArray, targets: IntArray) -> DoubleArray:
    """(n, K) log-probabilities; a target that the other folds lack gets the least score of all."""
    possible = np.isfinite(scores)
    scores = np.where(possible, scores, scores[possible].min(initial=0))
    calibrated: DoubleArray = log_softmax(scores / fit_temperature(scores, targets), axis=1)
    return calibrated
