"""Logistic regression on the image embeddings: the strong supervised classifier."""

from typing import ClassVar, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.sampling import stratified_split

_GRID = tuple(10.0**power for power in range(-4, 3))
_VALIDATION = 0.2
_SEARCH_TOLERANCE = 1e-4  # of the fits that are compared: the order of their accuracies is settled by then
_WORSE = 2  # worse values of C in a row, after which weaker penalties are not tried


class LinearProbe(Classifier):
    """Multinomial logistic regression on standardised images, in float64, fitted to convergence.

    The inverse penalty C is the value of 1e-4 ... 1e2 with the best accuracy on a stratified fifth of the
    training rows, searched from the strongest penalty on until two values in a row are worse; ties go to the
    strongest. The probe is then fitted on all training rows. Where a target has a single row, or there
    are too few rows to hold out, C is 1.

    Parameters
    ----------
    tol : float
        Largest component of the gradient of the mean loss at the end.
    max_iter : int
        Iterations of L-BFGS, at most.

    Attributes
    ----------
    coef_ : (S, d) weights of the targets that the training rows have, for images as they come.
    intercept_ : (S,) their intercepts.
    targets_ : (S,) those targets.
    C_ : chosen inverse penalty.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False

    def __init__(self, tol: float = 1e-5, max_iter: int = 5000) -> None:
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, training: Training) -> Self:
        """Choose C, then fit.

        Parameters
        ----------
        training : images and their targets; `Training.random_state` draws the validation rows.
        """
        images, targets = training.labelled
        rows = images.astype(np.float64)
        self.targets_ = np.unique(targets)
        self.n_targets_ = training.n_targets
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale == 0] = 1
        if len(self.targets_) == 1:
            weights, intercept = np.zeros((1, rows.shape[1])), np.zeros(1)
            self.C_ = 1.0
        else:
            standardised = (rows - mean) / scale
            self.C_ = self._chosen(standardised, targets, training.random_state)
            weights, intercept = _weights(self._probe(self.C_).fit(standardised, targets))
        # Row by row in memory, as in a file: the last bits of a product depend on it.
        self.coef_ = np.ascontiguousarray(weights / scale)
        self.intercept_ = intercept - self.coef_ @ mean
        return self

    def check_arrays(self) -> None:
        """Check that weights, intercepts and targets have a row a target."""
        count = len(self._floats("coef"))
        self._index("targets", count, self.n_targets_)
        if self.intercept_.shape != (count,):
            raise ValueError(f"intercept must be {count} numbers")

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its log-probability.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        values = np.full((len(X), self.n_targets_), -np.inf)
        if len(X):
            logits = X.astype(np.float64) @ self.coef_.T + self.intercept_
            values[:, self.targets_] = log_softmax(logits, axis=1)
        return TargetScores(values)

    def _chosen(self, rows: DoubleArray, targets: IntArray, seed: int) -> float:
        """The C of the grid with the best accuracy on held-out rows, going from strong to weak penalties."""
        counts = np.unique(targets, return_counts=True)[1]
        if counts.min() < 2 or round(_VALIDATION * len(targets)) < len(counts):
            return 1.0
        fit, held_out = stratified_split(targets, _VALIDATION, seed, option="linear probe")
        probe = self._probe(_GRID[0]).set_params(warm_start=True, tol=_SEARCH_TOLERANCE)
        best, chosen, worse = -1.0, 1.0, 0
        for penalty in _GRID:
            probe.set_params(C=penalty).fit(rows[fit], targets[fit])
            accuracy = float((probe.predict(rows[held_out]) == targets[held_out]).mean())
            worse = worse + 1 if accuracy < best else 0
            if accuracy > best:
                best, chosen = accuracy, penalty
            if worse == _WORSE:
                break
        return chosen

    def _probe(self, penalty: float) -> LogisticRegression:
        return LogisticRegression(C=penalty, tol=self.tol, max_iter=self.max_iter)


def _weights(probe: LogisticRegression) -> tuple[DoubleArray, DoubleArray]:
    """Weights and intercepts, one row a target also where there are two."""
    if len(probe.coef_) > 1:
        return probe.coef_, probe.intercept_
    # The softmax of (-z/2, z/2) is the sigmoid of z.
    return np.vstack([-probe.coef_, probe.coef_]) / 2, np.concatenate(
        [-probe.intercept_, probe.intercept_]
    ) / 2
