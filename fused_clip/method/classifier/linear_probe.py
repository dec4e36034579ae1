"""Logistic regression on the image embeddings: the strong supervised classifier."""

from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training
from fused_clip.method.classifier.validation import HeldOut, validation_split
from fused_clip.support.arrays import DoubleArray, Rows
from fused_clip.support.option_types import Positive, Rounds
from fused_clip.support.warned import many_labels

_GRID = tuple(10.0**power for power in range(-4, 3))
_FEW = 20  # labels of a target, below which C is chosen as for few labels
_POWERS = range(-6, 7, 2)  # of the C's that are compared first, for few labels
_BISECTIONS = 8
_SEARCH_TOLERANCE = 1e-4  # of the fits that are compared: the order of their accuracies is settled by then
_WORSE = 2  # worse values of C in a row, after which weaker penalties are not tried


class LinearProbe(Classifier):
    """Multinomial logistic regression on standardised images, in float64, fitted to convergence.

    The inverse penalty C is the value of 1e-4 ... 1e2 with the best accuracy on a stratified fifth of the
    labelled rows, searched from the strongest penalty on until two values in a row are worse; ties go to the
    strongest. The probe is then fitted on all labelled rows. Where a target has a single row, C is 1.

    Where some target has fewer than 20 rows, C is searched as in the few-label protocol of CLIP and CoOp
    (Zhou et al. 2022, arXiv:2109.01134): the best of 1e-6, 1e-4, ... 1e6 on min(4, labels // 2) rows of each
    target, then 8 steps that halve, on the logarithmic scale, the two decades around it towards the better
    end; ties go to the strongest penalty. The published protocol takes its validation rows besides the
    labels, and does not standardise.

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
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})

    def __init__(self, tol: Positive = 1e-5, max_iter: Rounds = 5000) -> None:
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
            self.C_ = self._chosen(training, mean, scale)
            with many_labels():
                probe = self._probe(self.C_).fit((rows - mean) / scale, targets)
            weights, intercept = _weights(probe)
        self.chosen_ = {"C": self.C_}
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

    def _chosen(self, training: Training, mean: DoubleArray, scale: DoubleArray) -> float:
        """The C with the best accuracy on validation rows; 1 where there are too few labels to hold out."""
        split = validation_split(training)
        if split is None:
            return 1.0
        images, held_out = (
            (rows.astype(np.float64) - mean) / scale for rows in (split.images, split.held_out)
        )
        standardised = split._replace(images=images, held_out=held_out)
        few = np.unique(training.labelled[1], return_counts=True)[1].min() < _FEW
        return self._bisected(standardised) if few else self._from_strong_to_weak(standardised)

    def _from_strong_to_weak(self, split: HeldOut) -> float:
        """Search a grid until two penalties in a row are worse."""
        accuracy_at = self._accuracies(split)
        best, chosen, worse = -1.0, 1.0, 0
        for penalty in _GRID:
            accuracy = accuracy_at(penalty)
            worse = worse + 1 if accuracy < best else 0
            if accuracy > best:
                best, chosen = accuracy, penalty
            if worse == _WORSE:
                break
        return chosen

    def _bisected(self, split: HeldOut) -> float:
        """Search a coarse grid, then halve the interval around its best value; ties go to the strongest."""
        # A warm start would decide close calls: weak penalties stop short of convergence, and under strong
        # ones the intercepts of the fit before outweigh the small weights.
        accuracy_at = self._accuracies(split, warm_start=False)
        peak = max(_POWERS, key=lambda power: accuracy_at(10.0**power))
        strong, weak = max(peak - 1.0, _POWERS[0]), min(peak + 1.0, _POWERS[-1])
        for _ in range(_BISECTIONS):
            middle = (strong + weak) / 2
            if accuracy_at(10.0**strong) < accuracy_at(10.0**weak):
                better, strong = weak, middle
            else:
                better, weak = strong, middle
        return float(10.0**better)

    def _accuracies(self, split: HeldOut, *, warm_start: bool = True) -> Callable[[float], float]:
        """C -> accuracy on the held-out rows; with a warm start a fit goes on from the one before."""
        probe = self._probe(1.0).set_params(warm_start=warm_start, tol=_SEARCH_TOLERANCE)

        def accuracy_at(penalty: float) -> float:
            with many_labels():
                probe.set_params(C=penalty).fit(split.images, split.targets)
            return float((probe.predict(split.held_out) == split.held_out_targets).mean())

        return accuracy_at

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
