"""Nearest means, and soft evidence, of clusters: of fused rows, of images, of classes."""

from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances

from fused_clip.method.classifier.contract import (
    Classifier,
    TargetScores,
    Training,
    cluster_means,
    equal_rows,
)
from fused_clip.method.classifier.ranges import check_number
from fused_clip.method.fusion import LinearFusion, unit_rows
from fused_clip.support.arrays import Array, DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError

_ROWS_A_BLOCK = 8192


class NearestClusterMean(Classifier):
    """Nearest mean of the images of each cluster: the run's clusters and votes without text.

    Attributes
    ----------
    cluster_centers_ : (k, w) mean of the rows of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    """

    def fit(self, training: Training) -> Self:
        """Compute the means of the images."""
        return self._set(training, training.means(training.images), training.cluster_targets)

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by minus the distance to its nearest mean."""
        starts = range(0, max(len(X), 1), _ROWS_A_BLOCK)
        squared = (self._squared(X[start : start + _ROWS_A_BLOCK]) for start in starts)
        blocks = [self._of_each_target(block) for block in squared]
        values, clusters = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return TargetScores(values, clusters if self.uses_clusters else None)

    def check_arrays(self) -> None:
        """Check that there is a centroid, and a target in [0, K) for each."""
        owners = self._index("cluster_targets", len(self._floats("cluster_centers")), self.n_targets_)
        self.targets_ = np.unique(owners)

    def arrays(self) -> dict[str, Array]:
        """Fitted arrays by name; the targets follow from the clusters."""
        return {name: array for name, array in super().arrays().items() if name != "targets"}

    def _set(self, training: Training, centers: DoubleArray, owners: IntArray | None) -> Self:
        arrays = {"cluster_centers": centers, "cluster_targets": np.asarray(owners, dtype=np.int64)}
        return self.restore(arrays, training.n_targets, training.fusion)

    def _squared(self, X: Rows) -> DoubleArray:
        """(m, k) squared distance of each row to each centroid."""
        return _squared_distances(X.astype(np.float64), self.cluster_centers_)

    def _of_each_target(self, squared: DoubleArray) -> tuple[DoubleArray, IntArray]:
        """Score and cluster of each target, from the squared distances: (m, K) each."""
        return nearest_of_each(squared, self.cluster_targets_, self.n_targets_)


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
        """Compute the means of the targets' images."""
        images, targets = training.labelled
        seen, index = np.unique(targets, return_inverse=True)
        return self._set(training, cluster_means(images, index, len(seen)), seen)


class ConstrainedCentroid(NearestClusterMean):
    """Nearest centroid of the fused rows among each prompt's own clusters: the paper's classifier.

    A new image is paired with every prompt. A prompt admits the clusters whose target it stands for, and
    the nearest admissible centroid wins. Each cluster has one target and each target one prompt, so a
    cluster meets one prompt, and a linear fusion needs one matrix product for all pairs.

    A target that `with_target` adds has no cluster. Its score is ``s + gain (cos(x, t) - cos(x, t'))``: s is
    the score of the answer among the other targets, t' the text of that answer, and t its own text. So it
    wins where its text is more similar to the image than that of the answer.

    Attributes
    ----------
    cluster_centers_ : (k, w) mean of the fused rows of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    text_embeddings_ : (p, d) text rows as `Fusion.inputs` prepares them; None for images alone.
    prompt_of_target_ : (K,) prompt that stands for each target; None for images alone.
    added_ : (a,) targets that were added; None for none.
    gain_ : (1,) change of a score for a change of the cosine; None without added targets.
    """

    text_embeddings_: Rows | None = None
    prompt_of_target_: IntArray | None = None
    added_: IntArray | None = None
    gain_: DoubleArray | None = None

    def fit(self, training: Training) -> Self:
        """Compute the centroids of the fused rows."""
        texts = training.texts
        self.text_embeddings_ = None if texts is None else training.fusion.inputs(texts)
        self.prompt_of_target_ = training.prompt_of_target
        return self._set(training, training.centers, training.cluster_targets)

    def without_text(self, training: Training) -> Self | None:
        """Be fitted on training rows that are all fused with the mean text row.

        With the centroids as they are, the text that is in them would count where the new rows have none.
        """
        if self.text_embeddings_ is None:
            return None
        texts = self.fusion_.inputs(equal_rows(self.text_embeddings_))
        fused = self.fusion_.fuse(self.fusion_.inputs(training.images), texts[0])
        own = {"prompt_of_target": self.prompt_of_target_, "cluster_targets": self.cluster_targets_}
        fitted: Self = clone(self).fit(
            replace(training, fused=fused, texts=texts, fusion=self.fusion_, **own)
        )
        return fitted

    def check_arrays(self) -> None:
        """Check centroids, their targets, and prompts that fuse to the centroids' width."""
        super().check_arrays()
        if self.text_embeddings_ is not None:
            texts = self._floats("text_embeddings")
            fused, width = self.fusion_.fuse(texts[:1], texts[:1]).shape[1], self.cluster_centers_.shape[1]
            if fused != width:
                raise ValueError(f"text_embeddings of shape {texts.shape} fuse to width {fused}, not {width}")
            self._index("prompt_of_target", self.n_targets_, len(texts))
        if self.added_ is not None:
            self._check_added(self.added_)

    def _check_added(self, added: IntArray) -> None:
        """Check that added targets have no cluster, and that their gain is a positive number."""
        self._index("added", added.size, self.n_targets_)
        if self.text_embeddings_ is None or np.isin(added, self.cluster_targets_).any():
            raise ValueError("added must be targets of a text, and of no cluster")
        gain = self.gain_
        if gain is None or gain.shape != (1,) or not 0 < gain[0] < np.inf:
            raise ValueError("gain must be a number above 0")
        self.targets_ = np.union1d(self.targets_, added)

    def with_target(self, text: Rows) -> Self:
        """Add a target by the direction of its text.

        Raises
        ------
        InputError
            Without prompts; if the image can't be taken out of the fused rows (`Fusion.image_part`); if the
            texts of the others don't agree with their images, or there is a single one.
        """
        if self.text_embeddings_ is None or self.prompt_of_target_ is None:
            return super().with_target(text)
        texts = self.text_embeddings_
        added = np.empty(0, np.int64) if self.added_ is None else self.added_
        return self._with_arrays(
            text_embeddings=np.concatenate([texts, self.fusion_.inputs(text).astype(texts.dtype)]),
            prompt_of_target=np.append(self.prompt_of_target_, len(texts)),
            added=np.append(added, self.n_targets_),
            gain=np.array([self._measured_gain()]) if self.gain_ is None else self.gain_,
        )

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by minus the distance to its nearest mean; an added one by its text.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        found = super().target_scores(X)
        if self.added_ is not None and self.gain_ is not None:
            values, cosines = found.values, self._cosines(X)
            answer = values.argmax(axis=1)[:, None]
            best, similar = (np.take_along_axis(each, answer, axis=1) for each in (values, cosines))
            values[:, self.added_] = best + self.gain_ * (cosines[:, self.added_] - similar)
        return found

    def _cosines(self, X: Rows) -> DoubleArray:
        """(m, K) cosine of each row and the text of each target."""
        texts = np.asarray(self.text_embeddings_)[self.prompt_of_target_]
        return np.asarray(unit_rows(X) @ unit_rows(texts).T)

    def _measured_gain(self) -> float:
        """Slope of the scores over the cosines, as differences between targets, at the clusters' images."""
        own = self.targets_
        prompts = np.asarray(self.prompt_of_target_)[self.cluster_targets_]
        texts = np.asarray(self.text_embeddings_)[prompts]
        images = self.fusion_.image_part(self.cluster_centers_, texts)
        scores, cosines = self.target_scores(images).values[:, own], self._cosines(images)[:, own]
        scores, cosines = (each - each.mean(axis=1, keepdims=True) for each in (scores, cosines))
        spread = float((cosines**2).sum())
        gain = float((scores * cosines).sum()) / spread if spread else 0.0
        if gain <= 0:
            rule = "can't be added by a text: the texts of this model's targets don't agree with their images"
            raise InputError("target", rule, hint="Use a run with prompt=task, or classifier=zero_shot")
        return gain

    def _squared(self, X: Rows) -> DoubleArray:
        """(m, k) squared distance of each row, fused with each cluster's prompt, to its centroid."""
        rows, centers = self.fusion_.inputs(X).astype(np.float64), self.cluster_centers_
        if self.text_embeddings_ is None or self.prompt_of_target_ is None:
            return _squared_distances(self.fusion_.fuse(rows, None), centers)
        texts = self.text_embeddings_.astype(np.float64)
        prompts = self.prompt_of_target_[self.cluster_targets_]
        if isinstance(self.fusion_, LinearFusion) and not self.fusion_.normalize_output:
            # || (a x + b t_j) - mu_c || = || a x - (mu_c - b t_j) ||: nothing is fused.
            anchors = centers - self.fusion_.text_weight * texts[prompts]
            return _squared_distances(self.fusion_.image_weight * rows, anchors)
        squared = np.empty((len(rows), len(centers)))
        for prompt in np.unique(prompts):
            own = prompts == prompt
            squared[:, own] = _squared_distances(self.fusion_.fuse(rows, texts[prompt]), centers[own])
        return squared


class SoftConstrainedCentroid(ConstrainedCentroid):
    """Evidence of all clusters of each prompt, where the paper's classifier takes the nearest centroid alone.

    Each cluster is an isotropic Gaussian around its centroid, as frequent as its share of the training rows;
    all have the variance of the fused rows around their centroids, per dimension. The score of a target is
    ``T log sum_c n_c exp(-|f - mu_c|^2 / (2 s^2 T))`` over its clusters c, n_c being their share to the
    power T. Its cluster is the one with the largest term. As the temperature T falls to 0 the answers become
    those of `ConstrainedCentroid`.

    Parameters
    ----------
    temperature : float
        T, at least 1e-6; of 1 the score is the log-density of the mixture, up to a constant of all targets.

    Attributes
    ----------
    cluster_centers_ : (k, w) mean of the fused rows of each cluster.
    cluster_targets_ : (k,) target of each cluster.
    cluster_sizes_ : (k,) training rows of each cluster.
    variance_ : (1,) squared deviation of a fused row from its centroid, per dimension.
    text_embeddings_ : (p, d) text rows as `Fusion.inputs` prepares them; None for images alone.
    prompt_of_target_ : (K,) prompt that stands for each target; None for images alone.

    Raises
    ------
    InputError
        If the temperature is out of its range.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        check_number("temperature", temperature, low=1e-6)
        self.temperature = temperature

    def fit(self, training: Training) -> Self:
        """Compute the centroids of the fused rows, the clusters' sizes, and the variance around them."""
        centers, clusters = training.centers, np.asarray(training.clusters)
        kept = clusters >= 0
        self.cluster_sizes_ = np.bincount(clusters[kept], minlength=len(centers))
        deviations = np.asarray(training.fused)[kept] - centers[clusters[kept]]
        # Clusters of equal rows: so small that only the nearest centroid counts.
        least = np.finfo(np.float32).eps ** 2 * max(float((centers**2).mean()), 1.0)
        self.variance_ = np.array([max(float((deviations**2).mean()), least)])
        return super().fit(training)

    def check_arrays(self) -> None:
        """Check the centroids, the clusters' sizes and the variance."""
        super().check_arrays()
        sizes = self._index("cluster_sizes", len(self.cluster_centers_), np.iinfo(np.int64).max)
        if sizes.min() < 1:
            raise ValueError("cluster_sizes must be at least 1")
        if self.variance_.shape != (1,) or not self.variance_[0] > 0:
            raise ValueError("variance must be a number above 0")

    def _of_each_target(self, squared: DoubleArray) -> tuple[DoubleArray, IntArray]:
        """Soft evidence for each target, and the cluster with the largest share of it: (m, K) each."""
        terms = np.log(self.cluster_sizes_) - squared / (2 * self.variance_ * self.temperature)
        values = np.full((len(squared), self.n_targets_), -np.inf)
        clusters = np.full(values.shape, -1, dtype=np.int64)
        for target in np.unique(self.cluster_targets_):
            own = np.flatnonzero(self.cluster_targets_ == target)
            values[:, target] = self.temperature * logsumexp(terms[:, own], axis=1)
            clusters[:, target] = own[terms[:, own].argmax(axis=1)]
        return values, clusters


def nearest_of_each(squared: DoubleArray, owners: IntArray, count: int) -> tuple[DoubleArray, IntArray]:
    """Minus the least distance to a cluster of each owner, and that cluster: (m, count) each.

    Parameters
    ----------
    squared : (m, k) squared distance of each row to each cluster.
    owners : (k,) owner of each cluster, in [0, count).
    count : number of owners; one without a cluster gets -inf and -1.
    """
    values = np.full((len(squared), count), -np.inf)
    clusters = np.full((len(squared), count), -1, dtype=np.int64)
    for owner in np.unique(owners):
        own = np.flatnonzero(owners == owner)
        nearest = squared[:, own].argmin(axis=1)
        clusters[:, owner] = own[nearest]
        values[:, owner] = -np.sqrt(squared[np.arange(len(squared)), own[nearest]])
    return values, clusters


def _squared_distances(rows: Rows, centers: Rows) -> DoubleArray:
    if not len(rows):
        return np.empty((0, len(centers)))
    return np.asarray(euclidean_distances(rows, centers, squared=True))
