"""Labels of the cluster that an image is nearest to."""

from typing import ClassVar, Self

import numpy as np

from fused_clip.method.classifier import Classifier, TargetScores, Training
from fused_clip.method.fusion import l2_normalized
from fused_clip.support.arrays import DoubleArray, Rows


class ClusterVote(Classifier):
    """Score each target by its share of the labels in the cluster whose mean image is nearest.

    The cluster is found by the image alone: the run's own may have been found by the image's label, through
    the prompt that it was fused with. Every cluster has one vote more, spread evenly over the targets.

    Attributes
    ----------
    centers_ : (k, d) mean of the unit image rows of each cluster.
    shares_ : (k, K) logarithm of each target's share of the labels.
    """

    uses_labels: ClassVar[bool] = True

    def fit(self, training: Training) -> Self:
        """Count the labels of each cluster.

        Parameters
        ----------
        training : images, clusters and targets.
        """
        clusters, targets = np.asarray(training.clusters), np.asarray(training.targets)
        kept = clusters >= 0
        self.centers_ = training.means(l2_normalized(training.images))
        counts = np.full((len(self.centers_), training.n_targets), 1 / training.n_targets)
        np.add.at(counts, (clusters[kept], targets[kept]), 1)
        self.shares_: DoubleArray = np.log(counts / counts.sum(axis=1, keepdims=True))
        self.targets_ = np.arange(training.n_targets)
        return self

    def target_scores(self, X: Rows) -> TargetScores:
        """Score by the nearest cluster.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        from sklearn.metrics import pairwise_distances_argmin

        return TargetScores(self.shares_[pairwise_distances_argmin(l2_normalized(X), self.centers_)])
