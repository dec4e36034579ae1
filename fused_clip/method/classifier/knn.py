"""Nearest labelled neighbours."""

from typing import ClassVar, Self

import numpy as np

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.method.classifier.validation import most_accurate, validation_split
from fused_clip.method.fusion import l2_normalized
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

_GRID = (1, 3, 5, 9, 15, 25, 45, 75)


class KNeighbors(Classifier):
    """Vote of the k labelled images of highest cosine similarity.

    A neighbour of similarity s votes with weight ``exp(s / temperature)``, as in Wu et al., "Unsupervised
    Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018 (arXiv:1805.01978). A target's
    score is the logarithm of its share of the votes, with one vote more spread evenly over the targets, so
    that one without a neighbour keeps a finite score.

    Unless it is given, k is the value of 1, 3, 5, 9, 15, 25, 45, 75, up to the labels of the smallest class,
    with the best accuracy on validation rows, the smallest of equals; 1 where there are too few labels. The
    neighbours are then searched among all labelled rows.

    Parameters
    ----------
    k : int or None
        Neighbours, at least 1; all labelled rows if there are fewer. None chooses it.
    temperature : float
        Above 0, of the votes' weights: the larger, the more evenly neighbours count.

    Attributes
    ----------
    rows_ : (l, d) labelled images, of unit length.
    row_targets_ : (l,) their targets.
    neighbors_ : (1,) k.
    targets_ : targets that have a labelled row.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})

    def __init__(self, k: int | None = None, temperature: float = 0.07) -> None:
        if k is not None:
            check_count("k", k)
        check_number("temperature", temperature, low=1e-3)
        self.k = k
        self.temperature = temperature

    def fit(self, training: Training) -> Self:
        """Choose k, and keep the labelled rows.

        Parameters
        ----------
        training : images and their targets; `Training.random_state` draws the validation rows.

        Raises
        ------
        ValueError
            Without a labelled row.
        """
        images, targets = training.labelled
        if not len(targets):
            raise ValueError("nearest neighbours need a labelled image")
        count = min(self._chosen(training), len(targets))
        arrays = {
            "rows": np.ascontiguousarray(l2_normalized(images)),
            "row_targets": np.asarray(targets, dtype=np.int64),
            "neighbors": np.array([count]),
        }
        return self.restore(arrays, training.n_targets, training.fusion)

    def check_arrays(self) -> None:
        """Check that there is a target for each row, and that k is at most the rows."""
        count = len(self._floats("rows"))
        self.targets_ = np.unique(self._index("row_targets", count, self.n_targets_))
        if self._index("neighbors", 1, count + 1)[0] < 1:
            raise ValueError("neighbors must be at least 1")

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by the logarithm of its smoothed share of the votes.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        values = np.full((len(X), self.n_targets_), -np.inf)
        if len(X):
            k = int(self.neighbors_[0])
            voters, weights = self._votes(self.rows_, self.row_targets_, X, k)
            votes = k * _shares(voters, weights, self.n_targets_)[:, self.targets_]
            values[:, self.targets_] = np.log((votes + 1 / len(self.targets_)) / (k + 1))
        return TargetScores(values)

    def _chosen(self, training: Training) -> int:
        if self.k is not None:
            return self.k
        split = validation_split(training)
        chosen = _GRID[0]
        if split is not None:
            least = int(np.unique(split.targets, return_counts=True)[1].min())
            allowed = [k for k in _GRID if k <= least]
            rows = l2_normalized(split.images)
            voters, weights = self._votes(rows, split.targets, split.held_out, allowed[-1])
            chosen = most_accurate(
                allowed,
                lambda k: _shares(voters[:, :k], weights[:, :k], training.n_targets),
                split.held_out_targets,
            )
        self.chosen_ = {"k": float(chosen)}
        return chosen

    def _votes(self, rows: Rows, targets: IntArray, X: Rows, k: int) -> tuple[IntArray, DoubleArray]:
        """(m, k) target and weight of each neighbour, the nearest first."""
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
        distances, index = search.kneighbors(l2_normalized(X.astype(rows.dtype)))
        # Unit rows: the cosine is 1 - distance^2 / 2. Relative to the nearest, so that none overflows.
        cosines = 1 - np.asarray(distances, dtype=np.float64) ** 2 / 2
        return targets[index], np.exp((cosines - cosines[:, :1]) / self.temperature)


def _shares(voters: IntArray, weights: DoubleArray, n_targets: int) -> DoubleArray:
    """(m, K) share of the weights of each row's voters that each target has."""
    m = len(voters)
    cells = (np.arange(m)[:, None] * n_targets + voters).ravel()
    sums = np.bincount(cells, weights.ravel(), minlength=m * n_targets).reshape(m, n_targets)
    return np.asarray(sums / weights.sum(axis=1, keepdims=True))
