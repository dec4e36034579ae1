"""Small cells of near rows: k-means on a sample makes large ones, k-means in each of them the small ones."""

from concurrent.futures import Executor
from itertools import pairwise

import numpy as np

from fused_clip.method.clusterer.memory_maps import blocks
from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.support.arrays import Array, FloatArray, IntArray
from fused_clip.support.threads import for_each

CELL_ROWS = 300  # mean number of rows of a cell
LARGEST_CELL = 4  # times the mean; a larger one, as duplicates make it, is cut
_ITERATIONS, _SAMPLE_A_CELL = 5, 40  # of the k-means that makes the cells; they need not be good clusters
_PASSES, _NEAR = 6, 48  # then rows move to the nearest of the cells near their own, so many times


def cell_labels(low: Array, seed: int, pool: Executor) -> IntArray:
    """(n,) cell of each row, in [0, c) and none without rows; near cells mostly have near numbers.

    Two levels keep the cost of a row near the square root of the number of cells.

    Parameters
    ----------
    low : (n, l) leading coordinates, float16.
    seed : of the samples and of k-means.
    pool : does parts of the work side by side.
    """
    label = _made_in_two_levels(low, seed, pool)
    for _ in range(_PASSES):
        label = _moved_to_nearest(low, label, pool)
    return _cut(label)


def _made_in_two_levels(low: Array, seed: int, pool: Executor) -> IntArray:
    faiss = load_faiss()
    count = max(1, len(low) // CELL_ROWS)
    large = max(1, round(count**0.5))
    sample = np.random.default_rng(seed).choice(
        len(low), min(len(low), _SAMPLE_A_CELL * large), replace=False
    )
    centers = _centers(low[np.sort(sample)], large, seed)
    owner = np.empty(len(low), dtype=np.int64)

    def own(block: slice) -> None:
        owner[block] = faiss.knn(low[block].astype(np.float32), centers, 1)[1][:, 0]

    for_each(pool, own, blocks(low))
    members, bounds = _by_cell(owner)
    label = np.empty(len(low), dtype=np.int64)
    made = 0
    some = [members[start:stop] for start, stop in pairwise(bounds) if start < stop]
    for inside, found in zip(some, pool.map(lambda inside: _split(low[inside], seed), some), strict=True):
        label[inside] = made + found
        made += int(found.max()) + 1
    return label


def _split(low: Array, seed: int) -> IntArray:
    """Small cells of the rows of a large one, numbered from 0."""
    faiss = load_faiss()
    rows = low.astype(np.float32)
    centers = _centers(rows, max(1, round(len(rows) / CELL_ROWS)), seed)
    own: IntArray = faiss.knn(rows, centers, 1)[1][:, 0]
    return own


def _moved_to_nearest(low: Array, label: IntArray, pool: Executor) -> IntArray:
    """Move each row to the nearest of the cells near its own: a step of k-means across large cells."""
    faiss = load_faiss()
    members, ends = _by_cell(label)
    centers = np.zeros((len(ends) - 1, low.shape[1]), dtype=np.float32)
    cells = [cell for cell, (start, stop) in enumerate(pairwise(ends)) if start < stop]

    def mean(cell: int) -> None:
        centers[cell] = low[members[ends[cell] : ends[cell + 1]]].mean(axis=0, dtype=np.float32)

    for_each(pool, mean, cells)
    near = np.concatenate(
        [faiss.knn(centers[block], centers, min(_NEAR, len(centers)))[1] for block in blocks(centers)]
    )
    moved = np.empty_like(label)

    def move(cell: int) -> None:
        rows = members[ends[cell] : ends[cell + 1]]
        nearest = faiss.knn(low[rows].astype(np.float32), centers[near[cell]], 1)[1][:, 0]
        moved[rows] = near[cell][nearest]

    for_each(pool, move, cells)
    return moved


def _cut(label: IntArray) -> IntArray:
    """Cut cells that are too large into pieces, and number those that have rows."""
    members, ends = _by_cell(label)
    cut = np.empty_like(label)
    made = 0
    for start, stop in pairwise(ends):
        pieces = -(-(stop - start) // (LARGEST_CELL * CELL_ROWS))
        if pieces:
            cut[members[start:stop]] = made + np.arange(stop - start) * pieces // (stop - start)
            made += pieces
    return cut


def _by_cell(label: IntArray) -> tuple[IntArray, IntArray]:
    """Rows sorted by cell, and the ends of the cells among them."""
    return np.argsort(label, kind="stable"), _ends(np.bincount(label))


def _centers(rows: Array, count: int, seed: int) -> FloatArray:
    """(count, d) centres, by a few steps of k-means on a sample."""
    faiss = load_faiss()

    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE_A_CELL,
    )
    kmeans.train(rows.astype(np.float32, copy=False))
    centers: FloatArray = kmeans.centroids
    return centers


def _ends(sizes: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)])
