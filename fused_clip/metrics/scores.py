"""Scores of clusterings and predictions: pure functions on arrays."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from fused_clip.metrics.silhouette import silhouette
from fused_clip.support.arrays import IntArray, Rows
from fused_clip.support.warned import many_labels

_SLUG_LENGTH = 100
_DIGITS = 6


def clustering_scores(
    fused: Rows, targets: IntArray | None, clusters: IntArray, n_targets: int
) -> dict[str, float]:
    """Score a clustering of the train split.

    Parameters
    ----------
    fused : (n, d) clustered rows.
    targets : (n,) true target of each row, in [0, n_targets); None where they are not known, which leaves
        the silhouette and the counts.
    clusters : (n,) cluster of each row; rows of cluster -1 are noise, counted and otherwise left out.
    n_targets : number of targets.

    Returns
    -------
    ``train/silhouette`` and ``train/ari`` in [-1, 1], ``train/ami`` at most 1, ``train/nmi``,
    ``train/purity`` and ``train/hungarian_accuracy`` in [0, 1], ``n_clusters``, ``n_noise``. Where the
    silhouette is estimated from a sample, ``train/silhouette_low`` and ``train/silhouette_high``, its 95 %
    confidence interval, and ``train/silhouette_rows``, the size of the sample. A score that is undefined is
    absent: the silhouette unless there are 2 to n - 1 clusters, the Hungarian accuracy
    unless there are as many clusters as targets, all of them if every row is noise.
    """
    kept = clusters >= 0
    if not kept.all():  # a mask copies all rows
        fused, clusters = fused[kept], clusters[kept]
    n_clusters = len(np.unique(clusters))
    scores = {"n_clusters": float(n_clusters), "n_noise": float((~kept).sum())}
    if n_clusters == 0:
        return scores
    if 2 <= n_clusters < len(clusters):
        scores |= _silhouette_scores(fused, clusters)
    if targets is None:
        return scores
    targets = targets[kept]
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


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Round scores of floating-point products to 6 significant digits; scores from counts need no rounding.

    Products are summed in another order by another number of threads, which changes digits from the ninth on.

    Parameters
    ----------
    scores : by name; NaN and infinities stay.
    """
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in scores.items()}


def slug(text: str) -> str:
    """Turn a name into lower-case ASCII letters, digits, ``_``, ``.`` and ``-``, at most 100 of them.

    Accents are dropped; other characters become ``-``. An empty result is ``target``.

    Parameters
    ----------
    text : the name.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_.]+", "-", ascii_text)[:_SLUG_LENGTH].strip("-.") or "target"


def purity(targets: IntArray, clusters: IntArray) -> float:
    """Share of rows that have the majority target of their cluster, in (0, 1].

    Parameters
    ----------
    targets : (n,) target of each row, n >= 1.
    clusters : (n,) cluster of each row.
    """
    return float(contingency(targets, clusters).max(axis=0).sum() / len(targets))


def hungarian_accuracy(targets: IntArray, clusters: IntArray) -> float:
    """Accuracy of the best one-to-one matching of clusters to targets, in [0, 1].

    Rows of clusters that the matching leaves over are wrong. Kuhn, "The Hungarian method for the assignment
    problem" (1955).

    Parameters
    ----------
    targets : (n,) target of each row, n >= 1.
    clusters : (n,) cluster of each row.
    """
    from scipy.optimize import linear_sum_assignment

    counts = contingency(targets, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(targets))


def _silhouette_scores(fused: Rows, clusters: IntArray) -> dict[str, float]:
    estimate = silhouette(fused, clusters)
    scores = {"train/silhouette": estimate.value}
    if estimate.rows < len(clusters):
        scores["train/silhouette_low"], scores["train/silhouette_high"] = estimate.interval
    scores = rounded(scores)
    if estimate.rows < len(clusters):
        scores["train/silhouette_rows"] = float(estimate.rows)
    return scores


def contingency(targets: IntArray, clusters: IntArray, n_targets: int = 0) -> IntArray:
    """Count the rows of each target in each cluster: (K, k).

    Parameters
    ----------
    targets : (n,) target of each row, in [0, K).
    clusters : (n,) cluster of each row, in [0, k); rows of cluster -1 are left out.
    n_targets : K, if it may be more than the targets that occur.
    """
    kept = clusters >= 0
    n_targets = max(n_targets, int(targets.max(initial=-1)) + 1)
    counts = np.zeros((n_targets, int(clusters.max(initial=-1)) + 1), dtype=np.int64)
    np.add.at(counts, (targets[kept], clusters[kept]), 1)
    return counts


def _agreement(targets: IntArray, clusters: IntArray) -> dict[str, float]:
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    with many_labels():
        return {
            "train/ari": float(adjusted_rand_score(targets, clusters)),
            "train/ami": float(adjusted_mutual_info_score(targets, clusters)),
            "train/nmi": float(normalized_mutual_info_score(targets, clusters)),
        }
