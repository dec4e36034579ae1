"""Spectral clustering that stays right on disconnected graphs and fast at a million rows."""

import warnings
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fused_clip.method.clusterer.approximate import cell_neighbors
from fused_clip.method.clusterer.eigenvectors import leading_eigenvectors
from fused_clip.method.clusterer.memory_maps import block_rows, blocks
from fused_clip.method.clusterer.neighbors import nearest_rows, neighbor_affinity, symmetrised
from fused_clip.support.arrays import Array, DoubleArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import inverse

EXACT_ROWS = 100_000  # with more rows, approximate="auto" approximates
_FLOATS = [np.float64, np.float32]
_DENSE_ROWS = 256  # below, a dense eigensolver is as fast as an iterative one
_FILTERED_ROWS = 20_000  # of a component: with fewer, ARPACK takes a second or less
_KMEANS_ROWS = 200_000  # rows among which k-means starts several times; of more, a sample


class SpectralClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Spectral clustering on a nearest-neighbour graph.

    What scikit-learn's ``SpectralClustering(affinity="nearest_neighbors", assign_labels="kmeans")`` computes,
    with the neighbours found by faiss and the eigenvectors component by component: on a disconnected graph
    the eigenvalue 1 is repeated, and an iterative solver on the whole graph silently misses eigenvectors.
    Method: Shi and Malik, "Normalized cuts and image segmentation" (2000, doi:10.1109/34.868688), with
    k-means on the k leading eigenvectors together.

    Parameters
    ----------
    n_clusters : int, in [1, n]
    n_neighbors : int, in [2, n]
        Neighbours of each row in the graph, the row itself included.
    n_init : int, at least 1
        Starts of k-means.
    approximate : bool or "auto"
        Whether the neighbours are searched among the nearest cells of an inverted file only, and eigenvectors
        are computed to about four digits: much faster on many rows, and a few neighbours are missed. "auto":
        with more than 100,000 rows.
    random_state : int, RandomState or None
        An int gives the same clusters each time, with an approximate graph too.

    Attributes
    ----------
    labels_ : (n,) cluster of each row, in [0, n_clusters).
    affinity_matrix_ : (n, n) sparse CSR array ``(A + A.T) / 2`` with A the 0/1 neighbour graph.
    eigenvalues_ : (n_clusters,) largest eigenvalues of the normalised adjacency D^-1/2 W D^-1/2, descending,
        in [-1, 1], where W is the affinity without its diagonal. ``1 - eigenvalues_`` are the smallest ones
        of the normalised Laplacian; the value 1 occurs once for each connected component.
    n_connected_components_ : number of connected components of the graph.
    graph_recall_ : share of the exact graph's neighbours among those that were searched for, in (0, 1], by a
        sample of 512 rows; 1 for an exact graph.
    n_features_in_ : d.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_neighbors: int = 10,
        n_init: int = 10,
        approximate: bool | Literal["auto"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_neighbors = n_neighbors
        self.n_init = n_init
        self.approximate = approximate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the rows.

        Parameters
        ----------
        X : (n, d) float32 or float64 rows, n at least 2; other types are converted. A memory map of float16,
            float32 or float64, where the graph is approximate, is read block by block; a scratch file in
            ``TMPDIR`` gets its rows in about half of their bytes.
        y : ignored.

        Raises
        ------
        InputError
            If `n_clusters` or `n_neighbors` is out of its range, or `approximate` is not one of its values.
            If a memory map is not of floats or not finite, or its scratch file has no room.
        ValueError
            If X is not a finite matrix of at least two rows.

        Warns
        -----
        UserWarning
            If the graph has more connected components than `n_clusters`. All cuts between components cost
            nothing, so components share a cluster where their means are close.
        """
        rows = self._checked(X)
        random = check_random_state(self.random_state)
        kmeans = KMeans(self.n_clusters, n_init=self.n_init, random_state=random)
        self._rows = rows
        self._graph = graph = self._neighbor_graph(rows, random)
        self.graph_recall_ = graph.recall
        self.n_connected_components_, component = _components(graph.affinity)
        if self.n_connected_components_ > self.n_clusters:
            warnings.warn(
                f"the neighbour graph has {self.n_connected_components_} connected components for "
                f"n_clusters={self.n_clusters}, so those with close means share a cluster; "
                "more n_neighbors would connect them",
                stacklevel=2,
            )
            self.eigenvalues_ = np.ones(self.n_clusters)
            self.labels_ = _join_components(rows, graph.unsorted(component), kmeans)
        else:
            self.eigenvalues_, embedding = spectral_embedding(
                graph.affinity, component, self.n_clusters, random, graph.cells
            )
            self.labels_ = graph.unsorted(_kmeans_labels(embedding, kmeans, random))
        return self

    @property
    def affinity_matrix_(self) -> csr_array:
        """(n, n) affinity of the rows as they were given; made anew each time where it is approximate."""
        return self._graph.unsorted_affinity()

    def laplacian_eigenvalues(self, X: ArrayLike, count: int) -> DoubleArray:
        """Smallest eigenvalues of the normalised Laplacian of the neighbour graph: (count,), ascending.

        Parameters
        ----------
        X : (n, d) rows.
        count : in [1, n].
        """
        rows = check_array(X, dtype=_FLOATS)
        random = check_random_state(self.random_state)
        graph = self._neighbor_graph(rows, random)
        n_components, component = _components(graph.affinity)
        if n_components >= count:
            return np.zeros(count)
        return np.asarray(1 - spectral_embedding(graph.affinity, component, count, random, graph.cells)[0])

    def predict(self, X: ArrayLike) -> IntArray:
        """Give new rows the cluster that most of their nearest rows in the training set have.

        The nearest-neighbour rule of Cover and Hart (1967, doi:10.1109/TIT.1967.1053964) with as many
        neighbours as a row has in the graph without itself: all edges weigh the same there, so this is the
        cluster that cuts the fewest edges of the row. Ties go to the lowest cluster.

        Parameters
        ----------
        X : (m, d) rows.

        Returns
        -------
        (m,) clusters, in [0, n_clusters).
        """
        check_is_fitted(self)
        queries = validate_data(self, X, reset=False, dtype=_FLOATS)
        neighbors = nearest_rows(queries, self._rows, self.n_neighbors - 1)
        cells = np.arange(len(queries))[:, None] * self.n_clusters + self.labels_[neighbors]
        votes = np.bincount(cells.ravel(), minlength=len(queries) * self.n_clusters)
        winners: IntArray = votes.reshape(len(queries), self.n_clusters).argmax(axis=1)
        return winners

    def _checked(self, X: ArrayLike) -> Array:
        """Check rows and parameters; rows of a large memory map are checked as they are read."""
        if isinstance(X, np.memmap) and X.ndim == 2 and self._approximates(len(X)):
            if X.dtype not in (np.float16, np.float32, np.float64):
                raise InputError("X", "a memory map must be of float16, float32 or float64", str(X.dtype))
            rows: Array = validate_data(self, X, skip_check_array=True)
        else:
            rows = validate_data(self, X, dtype=_FLOATS, ensure_min_samples=2)
        self._check_params(len(rows))
        return rows

    def _approximates(self, n_rows: int) -> bool:
        return n_rows > EXACT_ROWS if self.approximate == "auto" else bool(self.approximate)

    def _neighbor_graph(self, rows: Array, random: np.random.RandomState) -> "_Graph":
        if not self._approximates(len(rows)):
            return _Graph(neighbor_affinity(rows, self.n_neighbors))
        found = cell_neighbors(rows, self.n_neighbors, random.randint(2**31 - 1))
        others = found.neighbors[found.neighbors != np.arange(len(rows))[:, None]].reshape(len(rows), -1)
        return _Graph(symmetrised(others, np.float32), found.order, found.cells, found.recall)

    def _check_params(self, n_rows: int) -> None:
        for name, least in (("n_clusters", 1), ("n_neighbors", 2)):
            value = getattr(self, name)
            if not least <= value <= n_rows:
                rule = f"must be at least {least} and at most the number of rows (n_samples = {n_rows})"
                raise InputError(name, rule, value)
        if self.approximate not in (True, False, "auto"):
            raise InputError("approximate", "must be True, False or 'auto'", self.approximate)


class _Graph(NamedTuple):
    """The neighbour graph of rows, sorted by cells where it is approximate.

    Parameters
    ----------
    affinity : (n, n) ``(A + A.T) / 2``; without its diagonal of ones where rows are sorted.
    order : (n,) numbers of its rows before sorting; None where they were not sorted.
    cells : (n,) cell of each of its rows, ascending; None likewise.
    recall : share of the neighbours that were searched for.
    """

    affinity: csr_array
    order: IntArray | None = None
    cells: IntArray | None = None
    recall: float = 1.0

    def unsorted(self, values: IntArray) -> IntArray:
        """Values of its rows in the order that the rows had."""
        if self.order is None:
            return values
        back = np.empty_like(values)
        back[self.order] = values
        return back

    def unsorted_affinity(self) -> csr_array:
        if self.order is None:
            return self.affinity
        from scipy.sparse import eye_array

        place = inverse(self.order)
        whole = csr_array(self.affinity + eye_array(len(place), dtype=self.affinity.dtype))
        return csr_array(whole[place][:, place])


def _components(affinity: csr_array) -> tuple[int, IntArray]:
    """Number of connected components of a symmetric graph, and that of each row, in order of appearance.

    Of a symmetric graph they are the strong ones, for which scipy makes no transposed copy.
    """
    from scipy.sparse.csgraph import connected_components

    count, component = connected_components(affinity, connection="strong")
    first = np.unique(component, return_index=True)[1]
    return count, inverse(np.argsort(first))[component]


def spectral_embedding(
    affinity: csr_array,
    component: IntArray,
    n_vectors: int,
    random: np.random.RandomState,
    cells: IntArray | None = None,
) -> tuple[DoubleArray, Array]:
    """Compute the largest eigenvectors of the normalised adjacency of a graph, component by component.

    Parameters
    ----------
    affinity : (n, n) symmetric, non-negative; the diagonal is ignored, as scikit-learn's Laplacian does.
    component : (n,) connected component of each row, in [0, c).
    n_vectors : k, in [c, n].
    random : start of the iterative solver.
    cells : (n,) cell of near rows that each row is in, ascending: large components are solved by
        `leading_eigenvectors`. None: all by ARPACK, to the last digit.

    Returns
    -------
    eigenvalues : (k,) descending. An isolated row is a component with eigenvalue 1.
    embedding : (n, k) orthonormal eigenvectors, then rows scaled by D^-1/2; of the type of `affinity`.
    """
    weights = _without_diagonal(affinity)
    n_rows = len(component)
    members = [np.flatnonzero(component == index) for index in range(int(component.max()) + 1)]
    # Every component has the eigenvalue 1, so none has more of the k largest than this.
    most = n_vectors - len(members) + 1
    solved = []
    for rows in members:
        own = weights if len(members) == 1 else csr_array(weights[rows][:, rows])
        if cells is not None and len(rows) > max(_FILTERED_ROWS, 20 * most):
            solved.append(leading_eigenvectors(own, most, cells[rows], random))
        else:
            solved.append(_component_eigenvectors(own, most, random))
    values = np.concatenate([own for own, _ in solved])
    if len(members) == 1:
        return solved[0]
    largest = np.argsort(-values, kind="stable")[:n_vectors]
    embedding = np.zeros((n_rows, n_vectors), affinity.dtype)
    start = 0
    for rows, (own, vectors) in zip(members, solved, strict=True):
        columns = np.flatnonzero((largest >= start) & (largest < start + len(own)))
        embedding[np.ix_(rows, columns)] = vectors[:, largest[columns] - start]
        start += len(own)
    return values[largest], embedding


def _without_diagonal(affinity: csr_array) -> csr_array:
    from scipy.sparse import diags_array

    diagonal = affinity.diagonal()
    return csr_array(affinity - diags_array(diagonal)) if diagonal.any() else affinity


def _component_eigenvectors(
    weights: csr_array, most: int, random: np.random.RandomState
) -> tuple[DoubleArray, Array]:
    """Compute the `most` largest eigenvalues, or all, descending, of a component, and eigenvectors D^-1/2 v.

    The eigenvector of eigenvalue 1 has the square roots of the degrees.
    """
    degrees = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degrees > 0, degrees, 1))
    n_rows = len(scale)
    count = min(most, n_rows)
    if count == 1:
        return np.ones(1), (1 / scale / np.linalg.norm(1 / scale) * scale)[:, None]
    adjacency = csr_array(weights.multiply(scale[:, None]).multiply(scale))
    if n_rows <= max(_DENSE_ROWS, 3 * count):
        from scipy.linalg import eigh

        values, vectors = eigh(adjacency.toarray(), subset_by_index=(n_rows - count, n_rows - 1))
    else:
        from scipy.sparse.linalg import eigsh

        values, vectors = eigsh(adjacency, count, which="LA", v0=random.uniform(-1, 1, n_rows))
    order = np.argsort(-values)
    # The largest is 1 but for rounding, which must not decide between components.
    return np.concatenate([[1.0], values[order[1:]]]), vectors[:, order] * scale[:, None]


def _kmeans_labels(embedding: Array, kmeans: KMeans, random: np.random.RandomState) -> IntArray:
    """Cluster rows; of very many a sample finds the best start."""
    if len(embedding) > _KMEANS_ROWS:
        sample = np.sort(random.choice(len(embedding), _KMEANS_ROWS, replace=False))
        centers = kmeans.fit(embedding[sample]).cluster_centers_
        kmeans = KMeans(len(centers), init=centers, n_init=1)
    labels: IntArray = kmeans.fit_predict(embedding)
    return labels


def _join_components(rows: Array, component: IntArray, kmeans: KMeans) -> IntArray:
    """Cluster the means of the components, each weighted by its number of rows."""
    sizes = np.bincount(component)
    share = csr_array((1 / sizes[component], (component, np.arange(len(rows)))))
    if isinstance(rows, np.memmap):
        means = sum(share[:, block] @ block_rows(rows, block) for block in blocks(rows))
    else:
        means = share @ rows
    joined: IntArray = kmeans.fit_predict(means, sample_weight=sizes)[component]
    return joined
