"""How clusters get their targets."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import euclidean_distances

from fused_clip.metrics.scores import contingency
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError


def by_majority(votes: IntArray, clusters: IntArray, n_targets: int) -> IntArray:
    """Most frequent target of the rows of each cluster; ties go to the lowest.

    Parameters
    ----------
    votes : (n,) target that each row votes for, in [0, K); -1 for none.
    clusters : (n,) cluster of each row, in [0, k); -1 is noise.
    n_targets : K.

    Returns
    -------
    (k,) targets; -1 for a cluster without a vote.
    """
    voting = votes >= 0
    n_clusters = int(clusters.max(initial=-1)) + 1
    owners = np.full(n_clusters, -1)
    counts = contingency(votes[voting], clusters[voting], n_targets)
    owners[: counts.shape[1]] = np.where(counts.any(axis=0), counts.argmax(axis=0), -1)
    return owners


def by_matching(targets: IntArray, clusters: IntArray, n_targets: int) -> tuple[IntArray, IntArray]:
    """Match clusters to targets one to one, with most rows in common (Kuhn 1955).

    Parameters
    ----------
    targets : (n,) target of each row, in [0, K); -1 where it is not known.
    clusters : (n,) cluster of each row, in [0, k); -1 is noise.
    n_targets : K.

    Returns
    -------
    (n,) new cluster of each row, -1 in clusters that get no target, and (k',) target of each cluster left.
    """
    known, n_clusters = targets >= 0, int(clusters.max(initial=-1)) + 1
    counts = np.zeros((n_targets, n_clusters), dtype=np.int64)
    seen = contingency(targets[known], clusters[known], n_targets)
    counts[:, : seen.shape[1]] = seen
    owners, matched = linear_sum_assignment(counts, maximize=True)
    order = np.argsort(matched)
    place = np.full(n_clusters + 1, -1)  # the last is noise, which -1 takes
    place[matched[order]] = np.arange(len(order))
    return place[clusters], owners[order]


def fill_from_nearest(owners: IntArray, centers: DoubleArray) -> IntArray:
    """Give each cluster without a target that of the nearest cluster with one.

    Parameters
    ----------
    owners : (k,) target of each cluster; -1 for none.
    centers : (k, w) mean of the rows of each cluster.

    Raises
    ------
    InputError
        If no cluster has a target.
    """
    named = np.flatnonzero(owners >= 0)
    if not len(named):
        raise InputError("vote", "needs a cluster with a labelled row, and none has one")
    lacking = np.flatnonzero(owners < 0)
    filled = owners.copy()
    if len(lacking):
        distances = euclidean_distances(centers[lacking], centers[named])
        filled[lacking] = owners[named[distances.argmin(axis=1)]]
    return filled
