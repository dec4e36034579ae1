"""Spectral clustering that stays right on disconnected graphs and fast at a million rows."""

import warnings
from functools import partial
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fused_clip.method.clusterer.approximate import approximate_neighbors
from fused_clip.method.clusterer.neighbors import nearest_rows, neighbor_affinity
from fused_clip.support.arrays import Array, DoubleArray, IntArray
from fused_clip.support.errors import InputError

EXACT_ROWS = 100_000  # with more rows, approximate="auto" approximates
_FLOATS = [np.float64, np.float32]
_DENSE_ROWS = 256  # below, a dense eigensolver is as fast as an iterative one


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
        Whether the neighbours are searched among the nearest cells of an inverted file only: much faster on
        many rows, and a few neighbours are missed. "auto": with more than 100,000 rows.
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
        X : (n, d) float32 or float64 rows, n at least 2; other types are converted.
        y : ignored.

        Raises
        ------
        InputError
            If `n_clusters` or `n_neighbors` is out of its range, or `approximate` is not one of its values.
        ValueError
            If X is not a finite matrix of at least two rows.

        Warns
        -----
        UserWarning
            If the graph has more connected components than `n_clusters`. All cuts between components cost
            nothing, so components share a cluster where their means are close.
        """
        from scipy.sparse.csgraph import connected_components

        rows = validate_data(self, X, dtype=_FLOATS, ensure_min_samples=2)
        self._check_params(len(rows))
        random = check_random_state(self.random_state)
        kmeans = KMeans(self.n_clusters, n_init=self.n_init, random_state=random)
        self._rows = rows
        self.affinity_matrix_ = self._affinity(rows, random)
        self.n_connected_components_, component = connected_components(self.affinity_matrix_, directed=False)
        if self.n_connected_components_ > self.n_clusters:
            warnings.warn(
                f"the neighbour graph has {self.n_connected_components_} connected components for "
                f"n_clusters={self.n_clusters}, so those with close means share a cluster; "
                "more n_neighbors would connect them",
                stacklevel=2,
            )
            self.eigenvalues_ = np.ones(self.n_clusters)
            self.labels_ = _join_components(rows, component, kmeans)
        else:
            self.eigenvalues_, embedding = spectral_embedding(
                self.affinity_matrix_, component, self.n_clusters, random
            )
            self.labels_ = kmeans.fit_predict(embedding)
        return self

    def laplacian_eigenvalues(self, X: ArrayLike, count: int) -> DoubleArray:
        """Smallest eigenvalues of the normalised Laplacian of the neighbour graph: (count,), ascending.

        Parameters
        ----------
        X : (n, d) rows.
        count : in [1, n].
        """
        from scipy.sparse.csgraph import connected_components

        rows = check_array(X, dtype=_FLOATS)
        random = check_random_state(self.random_state)
        affinity = self._affinity(rows, random)
        n_components, component = connected_components(affinity, directed=False)
        if n_components >= count:
            return np.zeros(count)
        return np.asarray(1 - spectral_embedding(affinity, component, count, random)[0])

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

    def _affinity(self, rows: Array, random: np.random.RandomState) -> csr_array:
        approximate = len(rows) > EXACT_ROWS if self.approximate == "auto" else self.approximate
        if not approximate:
            return neighbor_affinity(rows, self.n_neighbors)
        search = partial(approximate_neighbors, seed=random.randint(2**31 - 1))
        return neighbor_affinity(rows, self.n_neighbors, search)

    def _check_params(self, n_rows: int) -> None:
        for name, least in (("n_clusters", 1), ("n_neighbors", 2)):
            value = getattr(self, name)
            if not least <= value <= n_rows:
                rule = f"must be at least {least} and at most the number of rows (n_samples = {n_rows})"
                raise InputError(name, rule, value)
        if self.approximate not in (True, False, "auto"):
            raise InputError("approximate", "must be True, False or 'auto'", self.approximate)


def spectral_embedding(
    affinity: csr_array, component: IntArray, n_vectors: int, random: np.random.RandomState
) -> tuple[DoubleArray, DoubleArray]:
    """Compute the largest eigenvectors of the normalised adjacency of a graph, component by component.

    Parameters
    ----------
    affinity : (n, n) symmetric, non-negative; the diagonal is ignored, as scikit-learn's Laplacian does.
    component : (n,) connected component of each row, in [0, c).
    n_vectors : k, in [c, n].
    random : start of the iterative solver.

    Returns
    -------
    eigenvalues : (k,) descending. An isolated row is a component with eigenvalue 1.
    embedding : (n, k) orthonormal eigenvectors, then rows scaled by D^-1/2.
    """
    from scipy.sparse import diags_array

    weights = csr_array(affinity - diags_array(affinity.diagonal()))
    degrees = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degrees > 0, degrees, 1))
    adjacency = csr_array(weights.multiply(scale[:, None]).multiply(scale))
    members = [np.flatnonzero(component == index) for index in range(int(component.max()) + 1)]
    # Every component has the eigenvalue 1, so none has more of the k largest than this.
    most = n_vectors - len(members) + 1
    solved = [
        _component_eigenvectors(adjacency[rows][:, rows], 1 / scale[rows], most, random) for rows in members
    ]
    values = np.concatenate([own for own, _ in solved])
    largest = np.argsort(-values, kind="stable")[:n_vectors]
    embedding = np.zeros((len(scale), n_vectors))
    start = 0
    for rows, (own, vectors) in zip(members, solved, strict=True):
        columns = np.flatnonzero((largest >= start) & (largest < start + len(own)))
        embedding[np.ix_(rows, columns)] = vectors[:, largest[columns] - start] * scale[rows, None]
        start += len(own)
    return values[largest], embedding


def _component_eigenvectors(
    adjacency: csr_array, leading: DoubleArray, most: int, random: np.random.RandomState
) -> tuple[DoubleArray, DoubleArray]:
    """Compute the `most` largest eigenvalues, or all, descending, and eigenvectors (m, count) of a component.

    `leading` is its eigenvector of eigenvalue 1, of any length: the square roots of the degrees.
    """
    n_rows = len(leading)
    count = min(most, n_rows)
    if count == 1:
        return np.ones(1), (leading / np.linalg.norm(leading))[:, None]
    if n_rows <= max(_DENSE_ROWS, 3 * count):
        from scipy.linalg import eigh

        values, vectors = eigh(adjacency.toarray(), subset_by_index=(n_rows - count, n_rows - 1))
    else:
        from scipy.sparse.linalg import eigsh

        values, vectors = eigsh(adjacency, count, which="LA", v0=random.uniform(-1, 1, n_rows))
    order = np.argsort(-values)
    # The largest is 1 but for rounding, which must not decide between components.
    return np.concatenate([[1.0], values[order[1:]]]), vectors[:, order]


def _join_components(rows: Array, component: IntArray, kmeans: KMeans) -> IntArray:
    """Cluster the means of the components, each weighted by its number of rows."""
    sizes = np.bincount(component)
    share = csr_array((1 / sizes[component], (component, np.arange(len(rows)))))
    joined: IntArray = kmeans.fit_predict(share @ rows, sample_weight=sizes)[component]
    return joined
