"""Exact nearest-neighbour graph at the speed of float32 matrix products."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

IntArray = NDArray[np.int64]
Rows = NDArray[Any]

_UNIT_ROUNDOFF = 2.0**-24  # of float32


def nearest_neighbors(X: Rows, n_neighbors: int) -> IntArray:
    """Find the nearest rows of each row by Euclidean distance, the row itself among them.

    faiss computes squared distances from float32 products. Where its rounding could have changed who is a
    neighbour (near ties, duplicates, groups that are much further apart than they are wide) scikit-learn's
    float64 search decides instead, so the sets of neighbours are those of exact arithmetic, up to ties.
    Where a row has more duplicates than neighbours, it still is its own neighbour.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64.
    n_neighbors : in [1, n].

    Returns
    -------
    (n, n_neighbors) row numbers; the order within a row is of no meaning.
    """
    n_rows = len(X)
    if n_neighbors == n_rows:
        return np.tile(np.arange(n_rows), (n_rows, 1))
    neighbors, doubtful = _search(_centred(X), n_neighbors)
    if doubtful.any():
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=n_neighbors).fit(X)
        neighbors[doubtful] = search.kneighbors(X[doubtful], return_distance=False)
    rows = np.arange(n_rows)
    lacks_itself = (neighbors != rows[:, None]).all(axis=1)
    neighbors[lacks_itself, -1] = rows[lacks_itself]
    return neighbors


def neighbor_affinity(X: Rows, n_neighbors: int) -> csr_array:
    """Return the symmetrised k-nearest-neighbour graph, (n, n).

    It is ``(A + A.T) / 2`` with ``A[i, j] = 1`` where j is among the nearest neighbours of i, itself
    included: the affinity of scikit-learn's ``SpectralClustering(affinity="nearest_neighbors")``.
    """
    n_rows = len(X)
    columns = nearest_neighbors(X, n_neighbors).ravel()
    ends = np.arange(0, len(columns) + 1, n_neighbors)
    graph = csr_array((np.ones(len(columns)), columns, ends), shape=(n_rows, n_rows))
    return csr_array((graph + graph.T) * 0.5)


def _centred(X: Rows) -> NDArray[np.float32]:
    """Move and scale the rows so that float32 products neither cancel more than they must nor overflow."""
    rows = X - X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    largest = max(rows.max(), -rows.min())
    rows /= largest if largest > 0 else 1
    return np.ascontiguousarray(rows, dtype=np.float32)


def _search(rows: NDArray[np.float32], n_neighbors: int) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the neighbours that float32 finds, (n, n_neighbors), and for which rows that isn't certain.

    A sum of d float32 products errs by a small multiple of sqrt(d) unit roundoffs (Higham and Mary 2019,
    doi:10.1137/18M1226312), relative to the squared sum of the two norms; and the norm of any row that could
    be a neighbour is at most the row's own plus its distance to the furthest neighbour.
    """
    import faiss

    squared, neighbors = faiss.knn(rows, rows, n_neighbors + 1)
    furthest, next_one = squared[:, -2].astype(np.float64), squared[:, -1].astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    reach = (2 * norms + np.sqrt(np.maximum(furthest, 0))) ** 2
    tolerance = (2 * np.sqrt(rows.shape[1]) + 8) * _UNIT_ROUNDOFF * reach
    return np.ascontiguousarray(neighbors[:, :-1]), next_one - furthest <= tolerance
