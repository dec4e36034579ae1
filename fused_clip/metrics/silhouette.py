"""The silhouette of a clustering: exact, or estimated from a sample of many rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from fused_clip.metrics.sampled_distances import distance_totals
from fused_clip.support import threads
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import EXACT_ROWS
from fused_clip.support.sampling import stratified_sample

SAMPLED_ROWS = 5_000
_BLOCK, _TILE = 1024, 2048  # rows and columns of distances at a time: they stay in a processor's cache
# Share of the squared lengths below which a squared distance by float32 products lost 3 of its 7 digits.
_NEAR = 1e-3


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
    exact_rows : with more rows, the silhouette is estimated.
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
    clusters, sizes = _clusters(labels)
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
    products of the type of X, and from each pair of points once; rows that coincide are one point, so their
    distance is exactly 0. The number of threads does not change a bit of the result.

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
    clusters, sizes = _clusters(labels)
    if sample is None:
        points, point_of_row = _points(X, clusters)
        totals, own = _totals(points, len(sizes))[point_of_row], clusters
    else:
        totals, own = distance_totals(X, clusters, len(sizes), sample), clusters[sample]
    rows = np.arange(len(own))
    a = totals[rows, own] / np.maximum(sizes[own] - 1, 1)
    others = totals / sizes
    others[rows, own] = np.inf
    b = others.min(axis=1)
    largest = np.maximum(a, b)
    defined = (sizes[own] > 1) & (largest > 0)
    return np.where(defined, (b - a) / np.where(defined, largest, 1), 0.0)


class _Points(NamedTuple):
    """Distinct (row, cluster) pairs, sorted by cluster.

    Parameters
    ----------
    rows : (u, d).
    clusters : (u,) cluster of each point, ascending.
    ids : (u,) equal where rows coincide, of whichever clusters.
    counts : (u,) number of rows that each stands for.
    """

    rows: Rows
    clusters: IntArray
    ids: IntArray
    counts: IntArray


def _clusters(labels: IntArray) -> tuple[IntArray, IntArray]:
    """Return the cluster of each row in [0, k), and the sizes of the clusters."""
    _, clusters, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not 2 <= len(sizes) < len(labels):
        raise InputError("labels", "a silhouette needs 2 to n - 1 clusters", len(sizes))
    return clusters, sizes


def _points(X: Rows, clusters: IntArray) -> tuple[_Points, IntArray]:
    """Return the points, and the point of each row."""
    rows: Rows = np.array(X, dtype=np.float64 if X.dtype == np.float64 else np.float32, order="C")
    rows += 0  # makes -0.0 the same bytes as 0.0
    known: dict[bytes, int] = {}
    ids = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows])
    _, first, point_of_row, counts = np.unique(
        clusters * len(known) + ids, return_index=True, return_inverse=True, return_counts=True
    )
    return _Points(rows[first], clusters[first], ids[first], counts), point_of_row


def _totals(points: _Points, n_clusters: int) -> DoubleArray:
    """(u, k) sum of the distances of each point to the rows of each cluster.

    A BLAS product of several threads has other last bits than one of a single thread. So blocks are computed
    side by side, each in one thread, and are added up in their order.
    """
    members = np.zeros((len(points.rows), n_clusters), points.rows.dtype)
    members[np.arange(len(members)), points.clusters] = points.counts
    blocks = list(_blocks(np.bincount(points.clusters, minlength=n_clusters)))
    totals = np.zeros((len(members), n_clusters))

    def work(block: tuple[int, int]) -> tuple[DoubleArray, DoubleArray]:
        return _block_totals(points, members, np.arange(*block))

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads.count()) as pool:
        for (start, stop), (sums, mirrored) in zip(blocks, pool.map(work, blocks), strict=True):
            totals[start:stop] += sums
            totals[stop:, points.clusters[start]] += mirrored[stop - start :]
    return totals


def _block_totals(points: _Points, members: Rows, block: IntArray) -> tuple[DoubleArray, DoubleArray]:
    """Sums of the distances between a block's points and the points from its first on.

    Returns
    -------
    sums : (b, k) of each of the block's points to the rows of each cluster.
    mirrored : (u - block[0],) of each point from the block's first on to the rows of the block.
    """
    sums, mirrored = np.zeros((len(block), members.shape[1])), []
    middle = points.rows[block].mean(axis=0)
    counts = points.counts[block].astype(members.dtype)
    for left in range(int(block[0]), len(members), _TILE):
        tile = slice(left, left + _TILE)
        distances = _distances(points, block, tile, middle)
        sums += distances @ members[tile]
        mirrored.append(counts @ distances)
    return sums, np.concatenate(mirrored).astype(np.float64)


def _distances(points: _Points, block: IntArray, tile: slice, middle: Rows) -> Rows:
    """Euclidean distances between points, (b, t), seen from the middle of the block.

    So a row is about as long as it is far away, and float32 loses little when it takes products from
    squares. Where it would lose more, because points are near each other and far from the middle, the tile
    is computed in float64.
    """
    same = _coincident(points.ids[block], points.ids[tile])
    rows, others = points.rows[block] - middle, points.rows[tile] - middle
    squared, longest = _squared(rows, others, same)
    if rows.dtype == np.float32 and squared.min() < _NEAR * longest:
        wide = points.rows[block].astype(np.float64) - middle, points.rows[tile].astype(np.float64) - middle
        squared, _ = _squared(*wide, same)
        squared = squared.astype(np.float32)
    squared[same] = 0
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)


def _coincident(ids: IntArray, others: IntArray) -> tuple[IntArray, IntArray]:
    """Index pairs of equal ids; `ids` are distinct."""
    order = np.argsort(ids)
    nearest = order[np.minimum(np.searchsorted(ids, others, sorter=order), len(ids) - 1)]
    there = np.flatnonzero(ids[nearest] == others)
    return nearest[there], there


def _squared(rows: Rows, others: Rows, same: tuple[IntArray, IntArray]) -> tuple[Rows, float]:
    """Squared distances, infinite between points that coincide, and the longest squared length."""
    lengths, others_lengths = np.einsum("ij,ij->i", rows, rows), np.einsum("ij,ij->i", others, others)
    squared: Rows = (-2 * rows) @ others.T
    squared += lengths[:, None]
    squared += others_lengths
    squared[same] = np.inf
    return squared, float(lengths.max() + others_lengths.max())


def _blocks(sizes: IntArray) -> Iterator[tuple[int, int]]:
    """Cut sorted points into blocks that stay within a cluster: (start, stop)."""
    for end, size in zip(np.cumsum(sizes).tolist(), sizes.tolist(), strict=True):
        for start in range(end - size, end, _BLOCK):
            yield start, min(start + _BLOCK, end)
