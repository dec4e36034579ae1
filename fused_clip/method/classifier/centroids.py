"""Nearest means: of clusters of fused rows, of clusters of images, of classes."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training, cluster_means
from fused_clip.method.fusion import Fusion, LinearFusion
from fused_clip.support.arrays import Array, DoubleArray, IntArray, Rows

_ROWS_A_BLOCK = 8192


class ConstrainedCentroid(Classifier):
    """Nearest centroid of the fused rows among each prompt's own clusters: the paper's classifier.

    A new image is paired with every prompt. A prompt admits the clusters whose target it stands for, and
    the nearest admissible centroid wins. Each cluster has one target and each target one prompt, so a
    cluster meets one prompt, and a linear fusion needs one matrix product for all pairs.

    Attributes
    ----------
    cluster_centers_ : (k, w) mean of the fused rows of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    text_embeddings_ : (p, d) text rows as `Fusion.inputs` prepares them; None for images alone.
    prompt_of_target_ : (K,) prompt that stands for each target; None for images alone.
    """

    def fit(self, training: Training) -> Self:
        """Compute the centroids.

        Parameters
        ----------
        training : fused rows, clusters and prompts.
        """
        texts = training.texts
        arrays = {
            "cluster_centers": training.centers,
            "cluster_targets": training.cluster_targets,
            "text_embeddings": None if texts is None else training.fusion.inputs(texts),
            "prompt_of_target": training.prompt_of_target,
        }
        known = {name: array for name, array in arrays.items() if array is not None}
        return self.restore(known, training.n_targets, training.fusion)

    def restore(self, arrays: Mapping[str, Array], n_targets: int, fusion: Fusion) -> Self:
        """Be fitted with centroids that are known; see `Classifier.restore`.

        Parameters
        ----------
        arrays : the attributes without their underscore.
        n_targets : K.
        fusion : fuses new rows.

        Raises
        ------
        ValueError
            If an array is missing, or does not fit the others.
        """
        self.cluster_centers_ = _take(arrays, "cluster_centers", "f", 2)
        k, width = self.cluster_centers_.shape
        self.cluster_targets_ = _index(_take(arrays, "cluster_targets", "i", 1), k, n_targets)
        self.text_embeddings_, self.prompt_of_target_ = None, None
        if "text_embeddings" in arrays:
            texts = _take(arrays, "text_embeddings", "f", 2)
            fused = fusion.fuse(texts[:1], texts[:1]).shape[1]
            if fused != width:
                raise ValueError(f"text_embeddings of shape {texts.shape} fuse to width {fused}, not {width}")
            of_target = _take(arrays, "prompt_of_target", "i", 1)
            self.text_embeddings_ = texts
            self.prompt_of_target_ = _index(of_target, n_targets, len(texts))
        self.n_targets_, self.fusion_ = n_targets, fusion
        self.targets_ = np.unique(self.cluster_targets_)
        return self

    def arrays(self) -> dict[str, Array]:
        """Fitted arrays by name; the targets follow from the clusters."""
        return {name: array for name, array in super().arrays().items() if name != "targets"}

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by minus the distance to its nearest cluster.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        starts = range(0, len(X), _ROWS_A_BLOCK)
        return _joined([self._scores(X[start : start + _ROWS_A_BLOCK]) for start in starts], self.n_targets_)

    def _scores(self, X: Rows) -> TargetScores:
        rows = self.fusion_.inputs(X).astype(np.float64)
        return nearest_of_each(self._squared_distances(rows), self.cluster_targets_, self.n_targets_)

    def _squared_distances(self, rows: DoubleArray) -> DoubleArray:
        """(m, k) squared distance of each row, fused with each cluster's prompt, to its centroid."""
        if self.text_embeddings_ is None or self.prompt_of_target_ is None:
            return _squared(self.fusion_.fuse(rows, None), self.cluster_centers_)
        texts = self.text_embeddings_.astype(np.float64)
        prompts = self.prompt_of_target_[self.cluster_targets_]
        if isinstance(self.fusion_, LinearFusion) and not self.fusion_.normalize_output:
            # || (a x + b t_j) - mu_c || = || a x - (mu_c - b t_j) ||: nothing is fused.
            anchors = self.cluster_centers_ - self.fusion_.text_weight * texts[prompts]
            return _squared(self.fusion_.image_weight * rows, anchors)
        squared = np.empty((len(rows), len(self.cluster_centers_)))
        for prompt in np.unique(prompts):
            own = prompts == prompt
            squared[:, own] = _squared(self.fusion_.fuse(rows, texts[prompt]), self.cluster_centers_[own])
        return squared


class NearestClusterMean(Classifier):
    """Nearest mean of the images of each cluster: the run's clusters and votes without text.

    Attributes
    ----------
    cluster_centers_ : (k, d) mean of the images of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    """

    def fit(self, training: Training) -> Self:
        """Compute the means.

        Parameters
        ----------
        training : images and clusters.
        """
        return self._set(training.means(training.images), training.cluster_targets, training.n_targets)

    def restore(self, arrays: Mapping[str, Array], n_targets: int, fusion: Fusion) -> Self:
        """Be fitted with means that are known; see `Classifier.restore`.

        Parameters
        ----------
        arrays : the attributes without their underscore.
        n_targets : K.
        fusion : not used.

        Raises
        ------
        ValueError
            If an array is missing, or does not fit the others.
        """
        return self._set(*_centers(arrays, n_targets), n_targets)

    def arrays(self) -> dict[str, Array]:
        """Fitted arrays by name; the targets follow from the clusters."""
        return {"cluster_centers": self.cluster_centers_, "cluster_targets": self.cluster_targets_}

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by minus the distance to its nearest mean.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        starts = range(0, len(X), _ROWS_A_BLOCK)
        blocks = [X[start : start + _ROWS_A_BLOCK].astype(np.float64) for start in starts]
        squared = [_squared(block, self.cluster_centers_) for block in blocks]
        scores = [nearest_of_each(one, self.cluster_targets_, self.n_targets_) for one in squared]
        return _joined(scores, self.n_targets_)

    def _set(self, centers: DoubleArray, owners: IntArray | None, n_targets: int) -> Self:
        self.cluster_centers_ = centers
        self.cluster_targets_ = np.asarray(owners, dtype=np.int64)
        self.targets_ = np.unique(self.cluster_targets_)
        self.n_targets_ = n_targets
        return self


class NearestClassMean(NearestClusterMean):
    """Nearest mean of the training images of each target: the plain supervised classifier.

    Attributes
    ----------
    cluster_centers_ : (k, d) mean of the images of each target that has any.
    cluster_targets_ : (k,) those targets.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False

    def fit(self, training: Training) -> Self:
        """Compute the means.

        Parameters
        ----------
        training : images and their targets.
        """
        seen, index = np.unique(np.asarray(training.targets), return_inverse=True)
        return self._set(cluster_means(training.images, index, len(seen)), seen, training.n_targets)

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by minus the distance to its mean.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        return TargetScores(super().target_scores(X).values)


def nearest_of_each(squared: DoubleArray, owners: IntArray, count: int) -> TargetScores:
    """Score each owner by minus the least distance to one of its clusters; ties go to the first cluster.

    Parameters
    ----------
    squared : (m, k) squared distance of each row to each cluster.
    owners : (k,) owner of each cluster, in [0, count).
    count : number of owners.
    """
    values = np.full((len(squared), count), -np.inf)
    clusters = np.full((len(squared), count), -1, dtype=np.int64)
    for owner in np.unique(owners):
        own = np.flatnonzero(owners == owner)
        nearest = squared[:, own].argmin(axis=1)
        clusters[:, owner] = own[nearest]
        values[:, owner] = -np.sqrt(squared[np.arange(len(squared)), own[nearest]])
    return TargetScores(values, clusters)


def _joined(blocks: list[TargetScores], n_targets: int) -> TargetScores:
    if not blocks:
        return TargetScores(np.empty((0, n_targets)), np.empty((0, n_targets), dtype=np.int64))
    clusters = [block.clusters for block in blocks if block.clusters is not None]
    return TargetScores(np.concatenate([block.values for block in blocks]), np.concatenate(clusters))


def _squared(rows: Rows, centers: Rows) -> DoubleArray:
    return np.asarray(euclidean_distances(rows, centers, squared=True))


def _centers(arrays: Mapping[str, Array], n_targets: int) -> tuple[DoubleArray, IntArray]:
    centers = _take(arrays, "cluster_centers", "f", 2)
    return centers, _index(_take(arrays, "cluster_targets", "i", 1), len(centers), n_targets)


def _take(arrays: Mapping[str, Array], name: str, kind: str, ndim: int) -> Array:
    array = arrays.get(name)
    if array is None or array.dtype.kind != kind or array.ndim != ndim or 0 in array.shape:
        found = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"{name} is {found}")
    if kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array


def _index(array: Array, length: int, count: int) -> IntArray:
    if array.shape != (length,) or array.min() < 0 or array.max() >= count:
        raise ValueError(f"an index must hold {length} numbers below {count}")
    return array
