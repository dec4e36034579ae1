"""Memory that clusterers take: those that compare all pairs of rows soon take more than a machine has."""

from typing import Any

from fused_clip.method.clusterer.spectral import EXACT_ROWS, SpectralClustering
from fused_clip.method.clusterer.wrapped import innermost

# Bytes for each pair of rows, by scikit-learn's class: that of Agglomerative measured with 10,000 and 20,000
# rows, the other counted from its code: four matrices of float64.
_A_PAIR = {"AgglomerativeClustering": 8, "AffinityPropagation": 32}
_DENSE_SPECTRAL = 24  # SpectralClustering, unless it takes the neighbours alone
_SPARSE = ("nearest_neighbors", "precomputed_nearest_neighbors")


def clusterer_bytes(clusterer: Any, n_rows: int, width: int, n_clusters: int) -> int:
    """Estimate the memory that fitting a clusterer takes beyond its rows; 0 if it is not known to take much.

    Parameters
    ----------
    clusterer : scikit-learn clusterer, or a wrapper of one.
    n_rows, width : of the rows.
    n_clusters : that it finds.
    """
    own = innermost(clusterer)
    kind, params = type(own).__name__, own.get_params(deep=False)
    if isinstance(own, SpectralClustering):
        # Rotated rows, then the graph, in float64 if it is exact, and blocks of vectors.
        an_edge = 80 if n_rows <= EXACT_ROWS else 40
        edges: int = own.n_neighbors
        return n_rows * max(4 * width + 200, an_edge * edges + 12 * (n_clusters + 8))
    if not type(own).__module__.startswith("sklearn."):
        return 0
    if kind == "SpectralClustering":
        return 0 if params["affinity"] in _SPARSE else _DENSE_SPECTRAL * n_rows**2
    if kind == "AgglomerativeClustering" and params["connectivity"] is not None:
        return 0
    if kind == "GaussianMixture":
        matrices = n_clusters * width**2 if params["covariance_type"] == "full" else width**2
        return 8 * (3 * matrices + 3 * n_rows * (n_clusters + width))
    return _A_PAIR.get(kind, 0) * n_rows**2
