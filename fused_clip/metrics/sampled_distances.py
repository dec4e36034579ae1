"""Sums of the distances between a sample of rows and the rows of each cluster, without a copy of all rows."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from fused_clip.support import threads
from fused_clip.support.arrays import Array, DoubleArray, IntArray, Rows
from fused_clip.support.many_rows import row_blocks

_TILE, _PIECE = 2048, 512  # rows, and rows of the sample, of a product
_TASK = 16 * _TILE  # rows that a thread works on at a time
# Share of the squared lengths below which a squared distance by float32 products lost 3 of its 7 digits.
_NEAR = 1e-3


class _Sample(NamedTuple):
    """Rows of the sample, seen from the mean of all rows.

    Parameters
    ----------
    rows : (m, d).
    middle : (d,) mean of all rows.
    lengths : (m,) squared lengths of `rows`.
    hashes : (m,) ascending hash of each row as it came.
    order : (m,) row of each hash.
    """

    rows: Rows
    middle: Rows
    lengths: Rows
    hashes: Array
    order: IntArray


def distance_totals(X: Rows, clusters: IntArray, n_clusters: int, sample: IntArray) -> DoubleArray:
    """(m, k) sum of the Euclidean distances of each row of a sample to the rows of each cluster.

    Distances come from matrix products of the type of X, those between rows that are close to each other
    from products in float64; rows that coincide are exactly 0 apart. The number of threads does not change a
    bit of the result: BLAS has one, and tiles are added up in their order.

    Parameters
    ----------
    X : (n, d) rows.
    clusters : (n,) cluster of each, in [0, k).
    n_clusters : k.
    sample : (m,) rows of X.
    """
    rows = _as_floats(X[sample])
    # Rows that coincide once: else all pairs of them would be listed.
    whole = rows.view(f"V{rows.strides[0]}")[:, 0]
    _, first, place = np.unique(whole, return_index=True, return_inverse=True)
    seen = _sample(X, rows[first])
    totals = np.zeros((len(first), n_clusters))

    def work(task: slice) -> DoubleArray:
        sums = np.zeros_like(totals)
        for tile in row_blocks(task.stop - task.start, _TILE):
            own = slice(task.start + tile.start, task.start + tile.stop)
            _add_tile(sums, seen, _as_floats(X[own]), clusters[own])
        return sums

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads.count()) as pool:
        for sums in pool.map(work, row_blocks(len(X), _TASK)):
            totals += sums
    return totals[place]


def _sample(X: Rows, rows: Rows) -> _Sample:
    hashes = _hashes(rows)
    order = np.argsort(hashes, kind="stable")
    middle = X.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    centred = rows - middle
    return _Sample(centred, middle, np.einsum("ij,ij->i", centred, centred), hashes[order], order)


def _as_floats(rows: Rows) -> Rows:
    """Rows in float32 or float64; -0.0 becomes 0.0, so that equal rows have equal bytes."""
    floats: Rows = np.ascontiguousarray(rows, dtype=np.float64 if rows.dtype == np.float64 else np.float32)
    return floats + 0


def _hashes(rows: Rows) -> Array:
    """(n,) unsigned hash of the bytes of each row: the same for equal rows, and rarely for others."""
    words = rows.view(np.uint32).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, words.shape[1], dtype=np.uint64) * 2 + 1
    hashes: Array = (words * factors).sum(axis=1, dtype=np.uint64)
    return hashes


def _add_tile(sums: DoubleArray, seen: _Sample, rows: Rows, clusters: IntArray) -> None:
    """Add the distances to the rows of one tile."""
    members = np.zeros((len(rows), sums.shape[1]), rows.dtype)
    members[np.arange(len(rows)), clusters] = 1
    own, others = _coincident(seen, rows)
    centred = rows - seen.middle
    lengths = np.einsum("ij,ij->i", centred, centred)
    for piece in row_blocks(len(seen.rows), _PIECE):
        here = (own >= piece.start) & (own < piece.stop)
        same = own[here] - piece.start, others[here]
        distances = _distances(seen.rows[piece], seen.lengths[piece], centred, lengths, same)
        sums[piece] += distances @ members


def _coincident(seen: _Sample, rows: Rows) -> tuple[IntArray, IntArray]:
    """Index pairs of rows of the sample and of the tile that coincide."""
    hashes = _hashes(rows)
    first, last = (np.searchsorted(seen.hashes, hashes, side=side) for side in ("left", "right"))
    counts = last - first
    others = np.repeat(np.arange(len(rows)), counts)
    steps = np.arange(len(others)) - np.repeat(np.cumsum(counts) - counts, counts)
    own = seen.order[np.repeat(first, counts) + steps]
    equal = (seen.rows[own] == rows[others] - seen.middle).all(axis=1)
    return own[equal], others[equal]


def _distances(
    rows: Rows, lengths: Rows, others: Rows, other_lengths: Rows, same: tuple[IntArray, IntArray]
) -> Rows:
    """(b, t) Euclidean distances; 0 between the rows of `same`."""
    squared: Rows = (-2 * rows) @ others.T
    squared += lengths[:, None]
    squared += other_lengths
    squared[same] = np.inf
    longest = float(lengths.max() + other_lengths.max())
    if rows.dtype == np.float32 and squared.min() < _NEAR * longest:
        wide = rows.astype(np.float64), others.astype(np.float64)
        exact = -2 * wide[0] @ wide[1].T
        exact += np.einsum("ij,ij->i", wide[0], wide[0])[:, None] + np.einsum("ij,ij->i", wide[1], wide[1])
        squared = exact.astype(np.float32)
    squared[same] = 0
    np.maximum(squared, 0, out=squared)
    return np.sqrt(squared, out=squared)
