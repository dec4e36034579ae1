"""Scores of training rows as if they were new, for calibration."""

import numpy as np
from sklearn.base import clone

from fused_clip.method.classifier.contract import Classifier, Training
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.many_rows import EXACT_ROWS
from fused_clip.support.sampling import disjoint_samples

_FOLDS = 5


def out_of_fold_scores(
    classifier: Classifier, training: Training, targets: IntArray | None = None
) -> DoubleArray:
    """Score each training row by a classifier fitted on the rows of the other folds; the partition stays.

    Rows fall into 5 folds, in each cluster alike; where few labels are known, the labelled rows do, in each
    target alike, and the others are never held out. A held-out row is scored as a new image: no label of it
    is used. A transductive classifier scores a fold as one batch, and has fewer folds where one would be of a
    single row.

    Parameters
    ----------
    classifier : cloned for each fold.
    training : as the classifier is given it, with clusters; its `random_state` draws the folds.
    targets : (n,) target of each row, -1 where it is not known; None where all are.

    Returns
    -------
    (n, K); -inf where the other folds can't predict a target, and in rows that are not held out.
    """
    clusters = np.asarray(training.clusters)
    known = None if targets is None else targets >= 0
    if known is None or known.all():
        folds = _folds(clusters, training.random_state, classifier.transductive)
    else:
        folds = np.full(len(clusters), -1)
        folds[known] = _folds(np.asarray(targets)[known], training.random_state, classifier.transductive)
    scores = np.full((len(clusters), training.n_targets), -np.inf)
    for fold in range(_FOLDS):
        held_out = folds == fold
        least = 2 if classifier.transductive else 1
        if held_out.sum() < least or not (clusters[~held_out] >= 0).any():
            continue
        others = training.subset(~held_out)
        if not classifier.uses_labels or (np.asarray(others.targets) >= 0).any():
            fitted: Classifier = clone(classifier).fit(others)
            scores[held_out] = fitted.target_scores(training.images[held_out]).values
    return scores


def calibration_sample(training: Training, targets: IntArray, most: int = EXACT_ROWS) -> IntArray:
    """Draw the rows that a temperature is found on: all, or a sample of `most` in each cluster alike.

    Parameters
    ----------
    training : with clusters; its `random_state` draws the sample.
    targets : (n,) target of each row, -1 where it is not known. Few known targets are all in the sample.
    most : rows.

    Returns
    -------
    (m,) positions, ascending.
    """
    clusters = np.asarray(training.clusters)
    if len(clusters) <= most:
        return np.arange(len(clusters))
    return disjoint_samples(clusters, targets >= 0, most, 1, training.random_state)[0]


def _folds(groups: IntArray, seed: int, in_batches: bool) -> IntArray:
    """(n,) fold of each row; every group is spread over the folds as evenly as possible."""
    count = min(_FOLDS, max(len(groups) // 2, 1)) if in_batches else _FOLDS
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]
    folds = np.empty(len(groups), dtype=np.int64)
    folds[order] = np.arange(len(groups)) % count
    return folds
