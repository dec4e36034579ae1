"""Clusters in which no target is lost."""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from fused_clip.method.votes import by_majority
from fused_clip.metrics.scores import contingency
from fused_clip.support.arrays import BoolArray, IntArray, Rows
from fused_clip.support.errors import part_errors

_FLOATS = [np.float64, np.float32]


class KeepClasses(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Split clusters of another clusterer until every target with a vote owns one by majority.

    While a target with votes owns no cluster, the cluster in which it has most votes is split by 2-means,
    started at the mean of the target's rows there and the mean of the others. Where that does not help, or
    costs another target its cluster, the target's voting rows become a cluster of their own. So at most K
    clusters are added, and where no target was missing the partition is the base's.

    Parameters
    ----------
    base : scikit-learn clusterer
        Finds the clusters; cloned.
    votes : (n,) array or None
        Target that each row votes for, -1 for none; None leaves the base's partition as it is.

    Attributes
    ----------
    base_ : fitted base.
    labels_ : (n,) cluster of each row; -1 is noise. Clusters that were split off come last.
    n_splits_ : number of clusters that were added.
    n_features_in_ : width of the rows.
    """

    def __init__(self, base: Any, *, votes: IntArray | None = None) -> None:
        self.base = base
        self.votes = votes

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the rows, then split.

        Parameters
        ----------
        X : (n, d) rows.
        y : ignored.

        Raises
        ------
        ValueError
            If there are not n votes.
        """
        rows = validate_data(self, X, dtype=_FLOATS)
        self.base_ = clone(self.base)
        with part_errors("clusterer.base", self.base_):
            clusters = self.base_.fit_predict(rows)
        found, index = np.unique(clusters, return_inverse=True)
        self.labels_: IntArray = index - int((found < 0).sum())
        self.n_splits_ = 0
        if self.votes is None:
            return self
        votes = np.asarray(self.votes)
        if votes.shape != (len(rows),):
            raise ValueError(f"votes must have shape ({len(rows)},), got {votes.shape}")
        while (missing := _missing(votes, self.labels_)).any():
            self.labels_ = _with_one_more(rows, votes, self.labels_, missing)
            self.n_splits_ += 1
        return self


def _missing(votes: IntArray, labels: IntArray) -> BoolArray:
    """(K,) whether each target has votes, but no cluster by majority."""
    n_targets = int(votes.max(initial=0)) + 1
    missing = np.bincount(votes[votes >= 0], minlength=n_targets) > 0
    owners = by_majority(votes, labels, n_targets)
    missing[owners[owners >= 0]] = False
    return missing


def _with_one_more(rows: Rows, votes: IntArray, labels: IntArray, missing: BoolArray) -> IntArray:
    """Split off a cluster for one of the missing targets; no other target becomes missing."""
    there = (labels >= 0) & (votes >= 0)
    n_clusters = int(labels.max(initial=-1)) + 1
    counts = contingency(votes[there], labels[there], len(missing)) * missing[:, None]
    if not counts.any():  # all their rows are noise
        return np.where(votes == missing.argmax(), n_clusters, labels)
    target, cluster = np.unravel_index(counts.argmax(), counts.shape)
    own = (labels == cluster) & (votes == target)
    members = np.flatnonzero(labels == cluster)
    split = labels.copy()
    split[members[_two_means(rows[members], own[members])]] = n_clusters
    now = _missing(votes, split)
    if now[target] or (now & ~missing).any():
        # Without them the cluster keeps its majority, which is another target's.
        return np.where(own, n_clusters, labels)
    return split


def _two_means(rows: Rows, own: BoolArray) -> BoolArray:
    """Which rows are in the part that started at the mean of the `own`; the others start the other part."""
    starts = np.stack([rows[~own].mean(axis=0), rows[own].mean(axis=0)])
    with warnings.catch_warnings():  # of equal rows, which can't be split
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(KMeans(2, init=starts, n_init=1).fit_predict(rows) == 1)
