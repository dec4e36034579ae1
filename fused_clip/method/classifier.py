"""Classification of new images: pair each with every prompt, take the nearest admissible cluster.

A prompt admits the clusters whose majority target it stands for. Each cluster has one target and each
target one prompt, so a cluster is met with one prompt only, and a linear fusion needs one matrix product
for all admissible (prompt, cluster) pairs.
"""

from typing import NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.metrics.pairwise import euclidean_distances

from fused_clip.method.fusion import Fusion, LinearFusion, l2_normalized, mean
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

_ROWS_A_BLOCK = 8192


class Assignment(NamedTuple):
    """The winning (prompt, cluster) pair of each of m rows.

    Parameters
    ----------
    targets : (m,) majority target of the winning cluster, in [0, K).
    prompts : (m,) winning prompt; -1 without text.
    clusters : (m,) winning cluster.
    distances : (m,) Euclidean distance of the fused row to the cluster's centroid.
    margins : (m,) distance to the nearest pair of another target minus `distances`; inf where every
        cluster carries the same target.
    """

    targets: IntArray
    prompts: IntArray
    clusters: IntArray
    distances: Rows
    margins: Rows


class ConstrainedCentroid(BaseEstimator):  # type: ignore[misc]
    """Nearest centroid of the fused rows among each prompt's own clusters; ties to the lowest target.

    Attributes
    ----------
    centers_ : (k, d) mean of the fused rows of each cluster, ordered by target.
    """

    def fit(
        self,
        fused: Rows,
        clusters: IntArray,
        *,
        cluster_targets: IntArray,
        text_embeddings: Rows | None = None,
        prompt_of_target: IntArray | None = None,
        fusion: Fusion | None = None,
        normalize_output: bool = False,
    ) -> Self:
        """Compute the centroids.

        Parameters
        ----------
        fused : (n, d) fused training rows.
        clusters : (n,) cluster of each row, in [0, k), or -1 for rows left out.
        cluster_targets : (k,) majority target of each cluster.
        text_embeddings : (p, d) text rows; None for images alone.
        prompt_of_target : (K,) prompt that stands for each target.
        fusion, normalize_output : how new rows are fused, as the training rows were; None is the mean.
        """
        return self.set_centers(
            cluster_means(fused, clusters, len(cluster_targets)),
            cluster_targets=cluster_targets,
            text_embeddings=text_embeddings,
            prompt_of_target=prompt_of_target,
            fusion=fusion,
            normalize_output=normalize_output,
        )

    def set_centers(
        self,
        centers: Rows,
        *,
        cluster_targets: IntArray,
        text_embeddings: Rows | None = None,
        prompt_of_target: IntArray | None = None,
        fusion: Fusion | None = None,
        normalize_output: bool = False,
    ) -> Self:
        """Be fitted with centroids that are known.

        Parameters
        ----------
        centers : (k, d) centroids; the others are as in `fit`.
        """
        self.centers_ = centers
        self.cluster_targets_ = cluster_targets
        # Ties go to the lowest target, and argmin takes the first.
        self.order_ = np.argsort(cluster_targets, kind="stable")
        self.text_embeddings_, self.prompt_of_target_ = text_embeddings, prompt_of_target
        self.fusion_, self.normalize_output_ = fusion or mean(), normalize_output
        if prompt_of_target is None:
            self.cluster_prompts_ = np.full(len(cluster_targets), -1)
        else:
            self.cluster_prompts_ = prompt_of_target[cluster_targets]
        return self

    def assign(self, X: Rows) -> Assignment:
        """Find the nearest admissible (prompt, cluster) pair of each row.

        Parameters
        ----------
        X : (m, d) image embeddings, m >= 1.
        """
        blocks = [
            self._assign_block(X[start : start + _ROWS_A_BLOCK]) for start in range(0, len(X), _ROWS_A_BLOCK)
        ]
        return Assignment(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))

    def distances(self, X: Rows) -> DoubleArray:
        """Distance of each row, fused with the prompt of a cluster's target, to its centroid: (m, k).

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        distances = np.empty((len(X), len(self.centers_)))
        for start in range(0, len(X), _ROWS_A_BLOCK):
            block = slice(start, start + _ROWS_A_BLOCK)
            distances[block] = np.sqrt(self._squared_distances(X[block].astype(np.float64)))
        return distances

    def _assign_block(self, X: Rows) -> Assignment:
        targets = self.cluster_targets_[self.order_]
        squared = self._squared_distances(X.astype(np.float64))[:, self.order_]
        best = squared.argmin(axis=1)
        others = np.where(targets == targets[best][:, None], np.inf, squared)
        distances = np.sqrt(squared[np.arange(len(X)), best])
        clusters = self.order_[best]
        return Assignment(
            targets[best],
            self.cluster_prompts_[clusters],
            clusters,
            distances.astype(np.float32),
            (np.sqrt(others.min(axis=1)) - distances).astype(np.float32),
        )

    def _squared_distances(self, X: Rows) -> Rows:
        """(m, k) squared distance of each row, fused with each cluster's prompt, to its centroid."""
        if self.text_embeddings_ is None:
            rows = l2_normalized(X) if self.normalize_output_ else X
            return _squared_distances(rows, self.centers_)
        texts = self.text_embeddings_.astype(np.float64)
        if isinstance(self.fusion_, LinearFusion) and not self.normalize_output_:
            anchors = self.centers_ - self.fusion_.text_weight * texts[self.cluster_prompts_]
            return _squared_distances(self.fusion_.image_weight * X, anchors)
        squared = np.empty((len(X), len(self.centers_)))
        for prompt in np.unique(self.cluster_prompts_):
            fused = self.fusion_(X, texts[prompt])
            fused = l2_normalized(fused) if self.normalize_output_ else fused
            own = self.cluster_prompts_ == prompt
            squared[:, own] = _squared_distances(fused, self.centers_[own])
        return squared


def _squared_distances(rows: Rows, centers: Rows) -> Rows:
    return np.asarray(euclidean_distances(rows, centers, squared=True))


def cluster_means(rows: Rows, clusters: IntArray, n_clusters: int) -> Rows:
    """Mean of the rows of each cluster, (k, d) float64; rows of cluster -1 are left out.

    Every cluster in [0, k) must have a row.
    """
    kept = np.flatnonzero(clusters >= 0)
    counts = np.bincount(clusters[kept], minlength=n_clusters)
    member = csr_array((np.ones(len(kept)), (clusters[kept], kept)), shape=(n_clusters, len(rows)))
    return np.asarray((member @ rows) / counts[:, None])
