"""Approximate nearest neighbours: exact among the rows of the cells that a row is near."""

from collections.abc import Iterator

import numpy as np

from fused_clip.method.clusterer.neighbors import (
    centred,
    nearest_rows,
    with_themselves,
)
from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.support.arrays import FloatArray, IntArray, Rows

CELL_ROWS = 300  # mean number of rows of a cell
PROBES = 10  # cells that a row is compared with
_ITERATIONS, _SAMPLE_A_CELL = 5, 40  # of the k-means that makes the cells; they need not be good clusters


def approximate_neighbors(X: Rows, n_neighbors: int, seed: int) -> IntArray:
    """Find rows near each row, the row itself among them; a seed gives the same ones however many threads.

    An inverted file (Sivic and Zisserman, "Video Google", 2003, doi:10.1109/ICCV.2003.1238663): k-means on
    a sample cuts the space into cells of about 300 rows, and a row is compared with all rows of the 10 cells
    whose centres are nearest to it. It is searched cell by cell, so that all comparisons are matrix products.
    The cost is about that of n x (3,000 + n / 180) distances, the last of them to make and find the cells,
    where the exact search takes n x n: it overtakes the rest at half a million rows. A cell that has
    very many rows (duplicates) costs the square of their number. With 10 cells or fewer nothing is missed.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64.
    n_neighbors : in [1, n].
    seed : of the sample and the start of k-means.

    Returns
    -------
    (n, n_neighbors) row numbers; the order within a row is of no meaning.
    """
    faiss = load_faiss()

    rows = centred(X)
    centers = _centers(rows, max(1, len(rows) // CELL_ROWS), seed)
    probes = faiss.knn(rows, centers, min(PROBES, len(centers)))[1]
    squared = np.full((len(rows), n_neighbors), np.inf, dtype=np.float32)
    neighbors = np.full((len(rows), n_neighbors), -1)
    for center, queries, members in _cells(probes, centers):
        # Seen from the cell's centre, float32 loses little when it takes products from squares.
        found = faiss.knn(rows[queries] - center, rows[members] - center, min(n_neighbors, len(members)))
        both = np.hstack([squared[queries], found[0]])
        candidates = np.hstack([neighbors[queries], members[found[1]]])
        nearest = np.argpartition(both, n_neighbors - 1, axis=1)[:, :n_neighbors]
        squared[queries] = np.take_along_axis(both, nearest, axis=1)
        neighbors[queries] = np.take_along_axis(candidates, nearest, axis=1)
    short = (neighbors < 0).any(axis=1)
    if short.any():
        neighbors[short] = nearest_rows(X[short], X, n_neighbors)
    return with_themselves(neighbors)


def _centers(rows: FloatArray, count: int, seed: int) -> FloatArray:
    """(count, d) centres of cells, by a few steps of k-means on a sample."""
    faiss = load_faiss()

    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE_A_CELL,
    )
    kmeans.train(rows)
    centers: FloatArray = kmeans.centroids
    return centers


def _cells(probes: IntArray, centers: FloatArray) -> Iterator[tuple[FloatArray, IntArray, IntArray]]:
    """Yield the centre of each cell, the rows that are compared with it and the rows that are in it.

    `probes`, (n, p), are the cells that each row is compared with, its own first.
    """
    n_probes = probes.shape[1]
    bounds = np.arange(len(centers) + 1)
    by_probe = np.argsort(probes, axis=None, kind="stable")
    by_cell = np.argsort(probes[:, 0], kind="stable")
    queries = np.searchsorted(probes.ravel(), bounds, sorter=by_probe)
    members = np.searchsorted(probes[:, 0], bounds, sorter=by_cell)
    for cell, center in enumerate(centers):
        inside = by_cell[members[cell] : members[cell + 1]]
        if len(inside):
            yield center, by_probe[queries[cell] : queries[cell + 1]] // n_probes, inside
