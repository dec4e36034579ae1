"""Exact nearest-neighbour graph at the speed of float32 matrix products."""

import numpy as np
from scipy.sparse import csr_array

from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.support import threads
from fused_clip.support.arrays import BoolArray, DoubleArray, FloatArray, IntArray, Rows

_UNIT_ROUNDOFF = 2.0**-24  # of float32
_WIDER = 4  # candidates that float64 decides between, for each neighbour
_BLOCK = 256  # queries whose candidates are in memory at a time
_PART = 200_000  # rows of a memory map that are in memory at a time


def nearest_neighbors(X: Rows, n_neighbors: int) -> IntArray:
    """Find the nearest rows of each row, the row itself among them even where it has more duplicates.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64.
    n_neighbors : in [1, n].

    Returns
    -------
    (n, n_neighbors) row numbers; the order within a row is of no meaning.
    """
    return with_themselves(nearest_rows(X, X, n_neighbors))


def nearest_rows(queries: Rows, X: Rows, n_neighbors: int) -> IntArray:
    """Find the rows of X that are nearest to each query by Euclidean distance.

    faiss computes squared distances from float32 products. Where its rounding could have changed who is a
    neighbour (near ties, groups that are much further apart than they are wide) float64 decides between four
    times as many candidates; and where these were not certain to hold the neighbours (duplicates),
    scikit-learn's search in float64. So the sets of neighbours are those of exact arithmetic, up to ties.

    Parameters
    ----------
    queries : (m, d) finite rows, float32 or float64.
    X : (n, d) finite rows, float32 or float64.
    n_neighbors : in [1, n].

    Returns
    -------
    (m, n_neighbors) row numbers of X; the order within a row is of no meaning.
    """
    if n_neighbors == len(X):
        return np.tile(np.arange(len(X)), (len(queries), 1))
    if isinstance(X, np.memmap):
        return _nearest_mapped(queries, X, n_neighbors)
    rows = centred(X)
    moved = rows if queries is X else centred(queries, like=X)
    candidates, unsure = _search(moved, rows, n_neighbors, n_neighbors + 1)
    neighbors = np.ascontiguousarray(candidates[:, :-1])
    doubtful = np.flatnonzero(unsure)
    if len(doubtful):
        width = min(_WIDER * n_neighbors, len(X))
        candidates, unsure = _search(moved[doubtful], rows, n_neighbors, width)
        neighbors[doubtful] = _nearest_of(candidates, queries[doubtful], X, n_neighbors)
        doubtful = doubtful[unsure & (width < len(X))]
    if len(doubtful):
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=n_neighbors).fit(X)
        neighbors[doubtful] = search.kneighbors(queries[doubtful], return_distance=False)
    return neighbors


def neighbor_distances(queries: Rows, X: Rows, n_neighbors: int) -> DoubleArray:
    """Compute the distance of each query to its nearest row of X of a given rank.

    The rows are found by float32 products, without `nearest_rows`'s float64 decisions: rows that it could
    confuse are nearly as far. Their distances are float64. The caller limits the threads: a limit takes
    milliseconds, and it may call this for every prompt.

    Parameters
    ----------
    queries : (m, d) finite rows, float32 or float64.
    X : (n, d) finite rows, float32 or float64.
    n_neighbors : the rank, in [1, n]; a query that is a row of X has itself as the first.

    Returns
    -------
    (m,) Euclidean distances.
    """
    faiss = load_faiss()
    candidates = faiss.knn(centred(queries, like=X), centred(X), n_neighbors)[1]
    distances = np.empty(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        offsets = X[candidates[block]].astype(np.float64) - queries[block, None]
        distances[block] = np.sqrt(np.einsum("ijk,ijk->ij", offsets, offsets).max(axis=1))
    return distances


def neighbor_affinity(X: Rows, n_neighbors: int) -> csr_array:
    """Return the symmetrised k-nearest-neighbour graph, (n, n).

    It is ``(A + A.T) / 2`` with ``A[i, j] = 1`` where j is among the nearest neighbours of i, itself
    included: the affinity of scikit-learn's ``SpectralClustering(affinity="nearest_neighbors")``.

    Parameters
    ----------
    X : (n, d) rows.
    n_neighbors : in [1, n].
    """
    return symmetrised(nearest_neighbors(X, n_neighbors), np.float64)


def symmetrised(neighbors: IntArray, kind: type[np.floating]) -> csr_array:
    """Return ``(A + A.T) / 2`` with ``A[i, j] = 1`` where j is among the neighbours of i, (n, n).

    Parameters
    ----------
    neighbors : (n, k) row numbers.
    kind : of its entries, which are exact in float32 too.
    """
    n_rows, count = neighbors.shape
    # What scikit-learn and scipy's solvers take, where it is large enough for the symmetrised graph.
    index = np.int32 if 2 * neighbors.size < 2**31 else np.int64
    ends = np.arange(0, neighbors.size + 1, count, dtype=index)
    columns = neighbors.astype(index, copy=False).ravel()
    graph = csr_array((np.ones(len(columns), np.int8), columns, ends), shape=(n_rows, n_rows))
    both = csr_array(graph + graph.T)
    return csr_array((both.data.astype(kind) / 2, both.indices, both.indptr), shape=both.shape)


def with_themselves(neighbors: IntArray) -> IntArray:
    """Put each row that is not among its own neighbours in the place of one of them.

    Parameters
    ----------
    neighbors : (n, k) neighbours of each row; changed in place.
    """
    rows = np.arange(len(neighbors))
    lacks_itself = (neighbors != rows[:, None]).all(axis=1)
    neighbors[lacks_itself, -1] = rows[lacks_itself]
    return neighbors


def centred(rows: Rows, like: Rows | None = None) -> FloatArray:
    """Move and scale rows so that float32 products neither cancel more than they must nor overflow.

    Parameters
    ----------
    rows : (m, d) rows.
    like : its mean becomes 0 and its largest entry 1; None for the rows themselves.
    """
    frame = rows if like is None else like
    middle = frame.mean(axis=0, dtype=np.float64).astype(frame.dtype)
    largest = max((frame.max(axis=0) - middle).max(), (middle - frame.min(axis=0)).max())
    moved = rows - middle
    moved /= largest if largest > 0 else 1
    return np.ascontiguousarray(moved, dtype=np.float32)


def _nearest_mapped(queries: Rows, X: np.memmap, n_neighbors: int) -> IntArray:
    """Find the nearest rows of each part of a memory map, then float64 decides between those."""
    parts = [
        start + nearest_rows(queries, part, min(n_neighbors, len(part)))
        for start in range(0, len(X), _PART)
        if len(part := np.array(X[start : start + _PART]))
    ]
    return _nearest_of(np.hstack(parts), queries, X, n_neighbors)


def _search(
    queries: FloatArray, rows: FloatArray, n_neighbors: int, width: int
) -> tuple[IntArray, BoolArray]:
    """Return the nearest rows by float32, (m, width), and where a row left out might be a neighbour.

    A sum of d float32 products errs by a small multiple of sqrt(d) unit roundoffs (Higham and Mary 2019,
    doi:10.1137/18M1226312), relative to the squared sum of the two norms; and the norm of a row is at most
    the query's own plus its distance.
    """
    faiss = load_faiss()
    with threads.limited_for(rows.size):  # entered once faiss is loaded, so that it counts for faiss too
        squared, candidates = faiss.knn(queries, rows, width)
    nearest, last = squared[:, n_neighbors - 1].astype(np.float64), squared[:, -1].astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    reach = (2 * norms + np.sqrt(np.maximum(last, 0))) ** 2
    tolerance = (2 * np.sqrt(rows.shape[1]) + 8) * _UNIT_ROUNDOFF * reach
    return candidates, ~(last - nearest > tolerance)


def _nearest_of(candidates: IntArray, queries: Rows, X: Rows, n_neighbors: int) -> IntArray:
    """Return which of the candidates, (m, c) rows of X, are nearest to each query by float64."""
    nearest = np.empty((len(queries), n_neighbors), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        offsets = X[candidates[block]].astype(np.float64) - queries[block, None]
        squared = np.einsum("ijk,ijk->ij", offsets, offsets)
        chosen = np.argpartition(squared, n_neighbors - 1, axis=1)[:, :n_neighbors]
        nearest[block] = np.take_along_axis(candidates[block], chosen, axis=1)
    return nearest
