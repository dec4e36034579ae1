"""Scores of clusterings and predictions: pure functions on arrays."""

import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fused_clip.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rows = NDArray[Any]

_ROWS_A_BLOCK = 1024
_SLUG_LENGTH = 100


def clustering_scores(fused: Rows, targets: IntArray, clusters: IntArray, n_targets: int) -> dict[str, float]:
    """Score a clustering of the train split.

    Parameters
    ----------
    fused : (n, d) clustered rows.
    targets : (n,) true target of each row, in [0, n_targets).
    clusters : (n,) cluster of each row; rows of cluster -1 are noise, counted and otherwise left out.

    Returns
    -------
    ``train/silhouette`` and ``train/ari`` in [-1, 1], ``train/ami`` at most 1, ``train/nmi``,
    ``train/purity`` and ``train/hungarian_accuracy`` in [0, 1], ``n_clusters``, ``n_noise``. A score that
    is undefined is absent: the silhouette unless there are 2 to n - 1 clusters, the Hungarian accuracy
    unless there are as many clusters as targets, all of them if every row is noise.
    """
    kept = clusters >= 0
    fused, targets, clusters = fused[kept], targets[kept], clusters[kept]
    n_clusters = len(np.unique(clusters))
    scores = {"n_clusters": float(n_clusters), "n_noise": float((~kept).sum())}
    if n_clusters == 0:
        return scores
    if 2 <= n_clusters < len(clusters):
        scores["train/silhouette"] = silhouette(fused, clusters)
    scores |= _agreement(targets, clusters)
    scores["train/purity"] = purity(targets, clusters)
    if n_clusters == n_targets:
        scores["train/hungarian_accuracy"] = hungarian_accuracy(targets, clusters)
    return scores


def classification_scores(
    targets: IntArray, predicted: IntArray, target_names: Sequence[str]
) -> dict[str, float]:
    """Score predictions of the test split.

    Parameters
    ----------
    targets : (n,) true target of each row, in [0, K).
    predicted : (n,) predicted target, in [0, K), or -1 for none, which is wrong.
    target_names : K names.

    Returns
    -------
    All in [0, 1]: ``test/accuracy``; ``test/balanced_accuracy``, the mean recall of the targets that the
    split has; ``test/macro_f1``, the mean F1 of the targets that occur in truth or prediction; and
    ``test/recall/<index>-<slug>`` of each target that the split has. Empty if there are no rows.
    """
    if len(targets) == 0:
        return {}
    n_targets = len(target_names)
    truth = np.bincount(targets, minlength=n_targets)
    guesses = np.bincount(predicted[predicted >= 0], minlength=n_targets)
    hits = np.bincount(targets[targets == predicted], minlength=n_targets)
    present, seen = np.flatnonzero(truth), truth + guesses > 0
    recalls = hits[present] / truth[present]
    scores = {
        "test/accuracy": float(hits.sum() / len(targets)),
        "test/balanced_accuracy": float(recalls.mean()),
        "test/macro_f1": float((2 * hits[seen] / (truth + guesses)[seen]).mean()),
    }
    for target, recall in zip(present.tolist(), recalls.tolist(), strict=True):
        scores[f"test/recall/{target}-{slug(target_names[target])}"] = recall
    return scores


def slug(text: str) -> str:
    """Turn a name into lower-case ASCII letters, digits, ``_``, ``.`` and ``-``, at most 100 of them.

    Accents are dropped; other characters become ``-``. A name of which nothing is left is ``target``.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_.]+", "-", ascii_text)[:_SLUG_LENGTH].strip("-.") or "target"


def purity(targets: IntArray, clusters: IntArray) -> float:
    """Share of rows that have the majority target of their cluster, in (0, 1]; needs at least one row."""
    return float(_contingency(targets, clusters).max(axis=0).sum() / len(targets))


def hungarian_accuracy(targets: IntArray, clusters: IntArray) -> float:
    """Accuracy of the best one-to-one matching of clusters to targets, in [0, 1].

    Rows of clusters that the matching leaves over are wrong. Needs at least one row. Kuhn, "The Hungarian
    method for the assignment problem" (1955).
    """
    from scipy.optimize import linear_sum_assignment

    counts = _contingency(targets, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(targets))


def majority_vote(targets: IntArray, clusters: IntArray, n_targets: int, n_clusters: int) -> IntArray:
    """Give each cluster the most frequent target of its rows; ties go to the lowest target.

    Parameters
    ----------
    targets : (n,) target of each row, in [0, n_targets).
    clusters : (n,) cluster of each row, in [0, n_clusters), or -1 for rows without a vote.

    Returns
    -------
    (n_clusters,) targets.

    Raises
    ------
    InputError
        If a cluster has no row.
    """
    kept = clusters >= 0
    cells = clusters[kept] * n_targets + targets[kept]
    votes = np.bincount(cells, minlength=n_clusters * n_targets).reshape(n_clusters, n_targets)
    empty = np.flatnonzero(votes.sum(axis=1) == 0)
    if len(empty):
        raise InputError("clusters", f"each of the {n_clusters} clusters must have a row", empty.tolist())
    winners: IntArray = votes.argmax(axis=1)
    return winners


def silhouette(X: Rows, labels: IntArray, *, max_rows: int = 100_000, seed: int = 0) -> float:
    """Mean silhouette of the rows, in [-1, 1].

    Parameters
    ----------
    X : (n, d) rows.
    labels : (n,) cluster of each row.
    max_rows : with more rows, that of a random sample of so many, drawn in proportion from each cluster.
    seed : drives the sample.

    Raises
    ------
    InputError
        If there are not 2 to n - 1 clusters.
    """
    if len(X) > max_rows:
        sample = _stratified(labels, max_rows, seed)
        X, labels = X[sample], labels[sample]
    return float(silhouette_samples(X, labels).mean())


def silhouette_samples(X: Rows, labels: IntArray) -> FloatArray:
    """Silhouette of each row, (n,) in [-1, 1]: ``(b - a) / max(a, b)``, or 0 for a cluster's only row.

    a is the mean Euclidean distance to the other rows of the cluster, b the least mean distance to the
    rows of another cluster (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7). Distances come from matrix
    products of the type of X, and from each pair of rows once.

    Raises
    ------
    InputError
        If there are not 2 to n - 1 clusters.
    """
    _, clusters, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not 2 <= len(sizes) < len(labels):
        raise InputError("labels", "a silhouette needs 2 to n - 1 clusters", len(sizes))
    order = np.argsort(clusters, kind="stable")
    totals = np.empty((len(labels), len(sizes)))
    totals[order] = _total_distances(X[order], clusters[order], sizes)
    rows = np.arange(len(labels))
    own_size = sizes[clusters]
    a = totals[rows, clusters] / np.maximum(own_size - 1, 1)
    others = totals / sizes
    others[rows, clusters] = np.inf
    b = others.min(axis=1)
    largest = np.maximum(a, b)
    defined = (own_size > 1) & (largest > 0)
    return np.where(defined, (b - a) / np.where(defined, largest, 1), 0.0)


def _total_distances(X: Rows, clusters: IntArray, sizes: IntArray) -> FloatArray:
    """(n, k) sum of the distances of each row to the rows of each cluster; X is sorted by cluster."""
    X = X if X.dtype == np.float64 else X.astype(np.float32)
    member = (clusters[:, None] == np.arange(len(sizes))).astype(X.dtype)
    totals = np.zeros((len(X), len(sizes)))
    for start, stop in _blocks(sizes):
        distances = _distances(X[start:stop], X[start:])
        np.fill_diagonal(distances, 0)
        totals[start:stop] += distances @ member[start:]
        totals[stop:, clusters[start]] += distances[:, stop - start :].sum(axis=0)
    return totals


def _blocks(sizes: IntArray) -> Iterator[tuple[int, int]]:
    """Cut sorted rows into blocks that stay within a cluster."""
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        for start in range(end - size, end, _ROWS_A_BLOCK):
            yield start, min(start + _ROWS_A_BLOCK, end)


def _distances(block: Rows, others: Rows) -> Rows:
    """Euclidean distances, (b, m).

    Seen from the middle of the block a row is about as long as it is far away, so float32 loses little
    when it takes products from squares, however far the clusters are from the origin and each other.
    """
    middle = block.mean(axis=0)
    block, others = block - middle, others - middle
    squared: Rows = (-2 * block) @ others.T
    squared += np.einsum("ij,ij->i", block, block)[:, None]
    squared += np.einsum("ij,ij->i", others, others)
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)


def _stratified(labels: IntArray, size: int, seed: int) -> IntArray:
    """Draw rows from each cluster in proportion to its size, but at least two where it has them."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    _, clusters, sizes = np.unique(labels[shuffled], return_inverse=True, return_counts=True)
    order = np.argsort(clusters, kind="stable")
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.where(rank < 2, -1, (rank + 0.5) / np.repeat(sizes, sizes))
    return np.sort(shuffled[order[np.argsort(place, kind="stable")[:size]]])


def _contingency(targets: IntArray, clusters: IntArray) -> IntArray:
    """(targets, clusters) counts of the values that occur."""
    from sklearn.metrics.cluster import contingency_matrix

    counts: IntArray = contingency_matrix(targets, clusters)
    return counts


def _agreement(targets: IntArray, clusters: IntArray) -> dict[str, float]:
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    with warnings.catch_warnings():
        # Many small clusters look to scikit-learn like a regression problem.
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        return {
            "train/ari": float(adjusted_rand_score(targets, clusters)),
            "train/ami": float(adjusted_mutual_info_score(targets, clusters)),
            "train/nmi": float(normalized_mutual_info_score(targets, clusters)),
        }
