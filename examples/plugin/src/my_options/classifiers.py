"""Classifiers."""

from typing import Annotated, Self

import numpy as np
from pydantic import Field
from sklearn.metrics.pairwise import euclidean_distances

from fused_clip.method.classifier import Classifier, TargetScores, Training


class TrimmedMean(Classifier):
    """Nearest mean of the images of each target, without those farthest from the target's median.

    Parameters
    ----------
    trim : share of each target's images that is left out, in [0, 1).
    """

    uses_labels = True
    uses_clusters = False

    def __init__(self, trim: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> None:
        self.trim = trim

    def fit(self, training: Training) -> Self:
        """Learn a mean for each target that has an image."""
        images, targets = training.labelled
        self.targets_ = np.unique(targets)
        self.n_targets_ = training.n_targets
        self.means_ = np.stack([self._mean(images[targets == target]) for target in self.targets_])
        return self

    def _mean(self, rows: np.ndarray) -> np.ndarray:
        distances = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
        kept = max(1, len(rows) - int(self.trim * len(rows)))
        return rows[np.argsort(distances, kind="stable")[:kept]].mean(axis=0)

    def target_scores(self, X: np.ndarray) -> TargetScores:
        """Score each target by its distance; a target without an image can't be predicted."""
        scores = np.full((len(X), self.n_targets_), -np.inf)
        scores[:, self.targets_] = -euclidean_distances(X, self.means_)
        return TargetScores(scores)

    def check_arrays(self) -> None:
        """Check what a saved model holds."""
        means = self._floats("means")
        self._index("targets", len(means), self.n_targets_)
