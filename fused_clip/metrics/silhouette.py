"""The silhouette of a clustering: exact, or estimated from a sample of many rows."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.sampling import stratified_sample

EXACT_ROWS = 100_000  # with more rows, the mean is estimated from a sample
SAMPLED_ROWS = 5_000
_BLOCK, _TILE = 1024, 2048  # rows and columns of distances at a time: they stay in a processor's cache


class Silhouette(NamedTuple):
    """Mean silhouette of a clustering.

    Parameters
    ----------
    value : in [-1, 1].
    interval : 95 % confidence interval of an estimate; exact, both its ends are the value.
    rows : number of rows whose silhouettes were computed.
    """

    value: float
    interval: tuple[float, float]
    rows: int


def silhouette(
    X: Rows,
    labels: IntArray,
    *,
    exact_rows: int = EXACT_ROWS,
    sampled_rows: int = SAMPLED_ROWS,
    seed: int = 0,
) -> Silhouette:
    """Mean silhouette of the rows.

    With more than `exact_rows` rows it is estimated from the silhouettes, exact against all rows, of a
    sample stratified by cluster: the stratified mean with a normal interval and the correction for a finite
    population (Cochran, "Sampling Techniques", 1977, chapter 5).

    Parameters
    ----------
    X : (n, d) rows.
    labels : (n,) cluster of each row.
    sampled_rows : size of the sample, in proportion to the sizes of the clusters, but two rows of each that
        has them, even if that makes the sample larger.
    seed : drives the sample.

    Raises
    ------
    InputError
        If there are not 2 to n - 1 clusters.
    """
    if len(X) <= exact_rows:
        value = float(silhouette_samples(X, labels).mean())
        return Silhouette(value, (value, value), len(X))
    _, clusters, sizes = _clusters(labels)
    sample = stratified_sample(clusters, sampled_rows, seed, least=2)
    values = silhouette_samples(X, labels, sample)
    counts = np.bincount(clusters[sample])
    means = np.bincount(clusters[sample], values) / counts
    squares = np.bincount(clusters[sample], (values - means[clusters[sample]]) ** 2)
    share = sizes / len(X)
    variances = squares / np.maximum(counts - 1, 1) / counts * (1 - counts / sizes)
    value, error = float(share @ means), 1.96 * float(np.sqrt(share**2 @ variances))
    return Silhouette(value, (value - error, value + error), len(sample))


def silhouette_samples(X: Rows, labels: IntArray, sample: IntArray | None = None) -> DoubleArray:
    """Silhouette of each row, (n,) in [-1, 1]: ``(b - a) / max(a, b)``, or 0 for a cluster's only row.

    a is the mean Euclidean distance to the other rows of the cluster, b the least mean distance to the
    rows of another cluster (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7). Distances come from matrix
    products of the type of X, and from each pair of rows once.

    Parameters
    ----------
    X : (n, d) rows.
    labels : (n,) cluster of each row.
    sample : (m,) rows whose silhouettes are wanted, against all rows; None: all of them.

    Raises
    ------
    InputError
        If there are not 2 to n - 1 clusters.
    """
    order, clusters, sizes = _clusters(labels)
    wanted = np.arange(len(labels)) if sample is None else sample
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    sorted_rows = X[order] if X.dtype == np.float64 else X[order].astype(np.float32, copy=False)
    own = clusters[wanted]
    if sample is None:
        totals = _all_totals(sorted_rows, sizes)[place]
    else:
        by_cluster = np.argsort(place[sample])
        totals = np.empty((len(sample), len(sizes)))
        totals[by_cluster] = _sample_totals(sorted_rows, sizes, place[sample][by_cluster])
    rows = np.arange(len(wanted))
    a = totals[rows, own] / np.maximum(sizes[own] - 1, 1)
    others = totals / sizes
    others[rows, own] = np.inf
    b = others.min(axis=1)
    largest = np.maximum(a, b)
    defined = (sizes[own] > 1) & (largest > 0)
    return np.where(defined, (b - a) / np.where(defined, largest, 1), 0.0)


def _clusters(labels: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return the rows in the order of their clusters, the cluster of each in [0, k), and the sizes."""
    _, clusters, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not 2 <= len(sizes) < len(labels):
        raise InputError("labels", "a silhouette needs 2 to n - 1 clusters", len(sizes))
    return np.argsort(clusters, kind="stable"), clusters, sizes


def _all_totals(X: Rows, sizes: IntArray) -> DoubleArray:
    """(n, k) sum of the distances of each row to the rows of each cluster; X is sorted by cluster."""
    member = _membership(sizes, X.dtype)
    totals = np.zeros((len(X), len(sizes)))
    for cluster, start, stop in _blocks(sizes):
        middle = X[start:stop].mean(axis=0)
        block = X[start:stop] - middle
        within = _distances(block, block)
        np.fill_diagonal(within, 0)
        totals[start:stop, cluster] += within.sum(axis=1)
        for left, right in _tiles(stop, len(X)):
            distances = _distances(block, X[left:right] - middle)
            totals[start:stop] += distances @ member[left:right]
            totals[left:right, cluster] += distances.sum(axis=0)
    return totals


def _sample_totals(X: Rows, sizes: IntArray, sample: IntArray) -> DoubleArray:
    """(m, k) sum of the distances of rows of a sample, ascending, to the rows of each cluster."""
    member = _membership(sizes, X.dtype)
    totals = np.zeros((len(sample), len(sizes)))
    drawn = np.bincount(np.repeat(np.arange(len(sizes)), sizes)[sample], minlength=len(sizes))
    for _, start, stop in _blocks(drawn):
        rows = sample[start:stop]
        middle = X[rows].mean(axis=0)
        block = X[rows] - middle
        for left, right in _tiles(0, len(X)):
            distances = _distances(block, X[left:right] - middle)
            here = np.flatnonzero((rows >= left) & (rows < right))
            distances[here, rows[here] - left] = 0
            totals[start:stop] += distances @ member[left:right]
    return totals


def _membership(sizes: IntArray, dtype: Any) -> Rows:
    """(n, k) whether a row, sorted by cluster, is in a cluster."""
    return np.repeat(np.eye(len(sizes), dtype=dtype), sizes, axis=0)


def _blocks(sizes: IntArray) -> Iterator[tuple[int, int, int]]:
    """Cut sorted rows into blocks that stay within a cluster: (cluster, start, stop)."""
    for cluster, (end, size) in enumerate(zip(np.cumsum(sizes).tolist(), sizes.tolist(), strict=True)):
        for start in range(end - size, end, _BLOCK):
            yield cluster, start, min(start + _BLOCK, end)


def _tiles(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for left in range(start, stop, _TILE):
        yield left, min(left + _TILE, stop)


def _distances(block: Rows, others: Rows) -> Rows:
    """Euclidean distances, (b, m), of rows seen from the middle of the block.

    So a row is about as long as it is far away, and float32 loses little when it takes products from
    squares, however far the clusters are from the origin and each other.
    """
    squared: Rows = (-2 * block) @ others.T
    squared += np.einsum("ij,ij->i", block, block)[:, None]
    squared += np.einsum("ij,ij->i", others, others)
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)
