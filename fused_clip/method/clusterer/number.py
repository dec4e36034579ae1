"""How many clusters a target gets, found without labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestCentroid

from fused_clip.method.clusterer.wrapped import on_rows
from fused_clip.metrics.curve import Curve
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

MOST = 5  # clusters of a target
_ROWS, _ROWS_A_TARGET = 1_000, 20  # of the sample: the larger of both
_PAIRS = 3  # of halves
_ZERO = 1e-9  # eigenvalues below which a gap is rounding
_TITLE, _AXIS = "Clusters for each target", "clusters for each target"


class HasEigenvalues(Protocol):
    """A clusterer whose graph has a normalised Laplacian."""

    def laplacian_eigenvalues(self, X: Rows, count: int) -> DoubleArray:
        """Return the `count` smallest eigenvalues, ascending.

        Parameters
        ----------
        X : (n, d) rows.
        count : in [1, n].
        """


class Choice(NamedTuple):
    """The number of clusters for each target.

    Parameters
    ----------
    number : that was chosen.
    curve : by which it was chosen.
    """

    number: int
    curve: Curve


def sample_rows(n_rows: int, n_targets: int, random: np.random.RandomState) -> IntArray:
    """Draw the rows by which the number is chosen: all, or 1,000, or 20 for each target, ascending.

    Parameters
    ----------
    n_rows : of the data.
    n_targets : K.
    random : of the draw.
    """
    size = min(n_rows, max(_ROWS, _ROWS_A_TARGET * n_targets))
    return np.sort(random.choice(n_rows, size, replace=False))


def candidates(n_rows: int, n_targets: int) -> range:
    """Numbers of clusters for each target that are compared: 1 to 5, as far as half of the rows allow.

    Parameters
    ----------
    n_rows : of the sample.
    n_targets : K.

    Raises
    ------
    ValueError
        If there are fewer than two rows for each target.
    """
    if n_rows < 2 * n_targets:
        rule = f"clusters_per_target='auto' needs at least two rows for each of the {n_targets} targets"
        raise ValueError(f"{rule}, got n_samples = {n_rows}")
    return range(1, min(MOST, n_rows // 2 // n_targets) + 1)


def number_scores(clusterer: Any, rows: Rows, n_targets: int, seed: int) -> DoubleArray:
    """Score each candidate: (c, 2) score, the higher the better, and its standard error.

    The relative eigengap where the clusterer has eigenvalues, else the stability.

    Parameters
    ----------
    clusterer : configured for the rows, but for the number of clusters.
    rows : (n, d) sample of the rows that are clustered.
    n_targets : K.
    seed : draws the halves that are compared.
    """
    numbers = candidates(len(rows), n_targets)
    if hasattr(clusterer, "laplacian_eigenvalues"):
        gaps = eigengaps(clusterer, rows, [number * n_targets for number in numbers])
        return np.stack([gaps, np.zeros(len(gaps))], axis=1)
    pairs = stability(clusterer, rows, [number * n_targets for number in numbers], seed)
    return np.stack([pairs.mean(axis=0), pairs.std(axis=0, ddof=1) / len(pairs) ** 0.5], axis=1)


def choose(scores: DoubleArray, *, eigengap: bool) -> Choice:
    """Choose a number of clusters for each target.

    The largest eigengap, at a tie the first. Of stabilities, the largest number that is as stable as the
    best up to its standard error: coarser partitions of the same groups are often stable too (Ben-Hur,
    Elisseeff and Guyon 2002, "A stability based method for discovering structure in clustered data").

    Parameters
    ----------
    scores : as `number_scores` gives them.
    eigengap : whether they are eigengaps.
    """
    values, errors = scores.T
    best = int(values.argmax())
    chosen = best if eigengap else int(np.flatnonzero(values >= values[best] - errors[best]).max())
    name = "relative eigengap" if eigengap else "agreement of halves (ARI)"
    x = tuple(float(number) for number in range(1, len(values) + 1))
    curve = Curve("clusters_per_target", _TITLE, _AXIS, name, x, {name: tuple(values.tolist())}, x[chosen])
    return Choice(chosen + 1, curve)


def eigengaps(clusterer: HasEigenvalues, rows: Rows, counts: Sequence[int]) -> DoubleArray:
    """Relative gap after the k-th smallest eigenvalue of the normalised Laplacian, for each k: in [0, 1].

    ``1 - l_k / l_(k+1)``: 1 where the graph has exactly k components, near 0 where one cluster more costs
    nothing (von Luxburg 2007, arXiv:0711.0189, section 8.3, where the gap is absolute).

    Parameters
    ----------
    clusterer : gives the eigenvalues.
    rows : (n, d) rows.
    counts : numbers of clusters k, each below n.
    """
    values = np.maximum(clusterer.laplacian_eigenvalues(rows, max(counts) + 1), 0)
    own, following = values[np.array(counts) - 1], values[np.array(counts)]
    return np.where(following < _ZERO, 0, (following - own) / np.maximum(following, _ZERO))


def stability(clusterer: Any, rows: Rows, counts: Sequence[int], seed: int) -> DoubleArray:
    """Agreement (ARI) of the partitions of two halves, extended to all rows by the nearest centroid: (3, c).

    Parameters
    ----------
    clusterer : configured for the rows, but for the number of clusters.
    rows : (n, d) rows.
    counts : c numbers of clusters, each at most n // 2.
    seed : draws three pairs of halves.
    """
    random = np.random.default_rng(seed)
    half = len(rows) // 2
    found = np.empty((_PAIRS, len(counts)))
    for pair in found:
        order = random.permutation(len(rows))
        halves = [np.sort(order[:half]), np.sort(order[half : 2 * half])]
        for place, count in enumerate(counts):
            pair[place] = adjusted_rand_score(*(_extended(clusterer, rows, own, count) for own in halves))
    return found


def _extended(clusterer: Any, rows: Rows, own: IntArray, n_clusters: int) -> IntArray:
    """Cluster some of the rows, and give every row the cluster of the nearest centroid."""
    wanted = {"n_clusters": n_clusters, "n_components": n_clusters}
    labels = on_rows(clusterer, own, wanted).fit_predict(rows[own])
    kept = labels >= 0
    if len(np.unique(labels[kept])) < 2:
        return np.zeros(len(rows), dtype=np.int64)
    found: IntArray = NearestCentroid().fit(rows[own][kept], labels[kept]).predict(rows)
    return found
