"""Gaussian discriminant analysis added to the logits of the prompts."""

from typing import ClassVar, Self

import numpy as np
from scipy.linalg import solve

from fused_clip.method.classifier.contract import Training, cluster_means
from fused_clip.method.classifier.cosine import LOGIT_SCALE, UnitLinear, texts_of
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.method.classifier.validation import most_accurate, validation_split
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

_GRID = tuple(10.0**power for power in range(-4, 3))
_DEFAULT = 1.0
_NO_SPREAD = 1e-12  # mean squared distance of unit rows to their class mean, below which it is rounding


class GaussianDiscriminant(UnitLinear):
    """CLIP's logits plus linear discriminant analysis with a shrunk covariance, in closed form.

    The score of target k is ``100 x t_k + alpha (x w_k + b_k)`` for a unit image row x, after Wang et al.,
    "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024 (arXiv:2402.04087). With S
    the covariance of the n labelled rows around their d-dimensional class means m_k,
    ``P = d ((n - 1) S + trace(S) I)^-1``, ``w_k = P m_k``, ``b_k = log(1 / K) - m_k P m_k / 2``.

    Unless it is given, alpha is the value of 1e-4 ... 1e2 with the best accuracy on validation rows, the
    smallest of equals; 1 where there are too few labels. P and the means are then computed from all labelled
    rows. A target without a labelled row has the mean of the other means, so its prompt decides. Where no
    labelled row differs from its class mean, as with one label a class, P is the identity. Without text the
    score is that of the discriminant alone.

    Parameters
    ----------
    alpha : float or None
        Weight of the discriminant, at least 0: 0 is zero-shot. None chooses it.
    copies : int
        Times that each labelled row counts, at least 1. The published code counts 10 augmented copies of each
        image as rows of their own in n, which makes the covariance less regularised than the labels allow;
        a number above 1 repeats that.

    Attributes
    ----------
    coef_ : (S, d) weights.
    intercept_ : (S,) intercepts.
    targets_ : (S,) targets that can be predicted: all with text, those with a label without.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})
    uses_text: ClassVar[bool] = True

    def __init__(self, alpha: float | None = None, copies: int = 1) -> None:
        if alpha is not None:
            check_number("alpha", alpha, low=0)
        check_count("copies", copies)
        self.alpha = alpha
        self.copies = copies

    def fit(self, training: Training) -> Self:
        """Choose alpha, then compute means and precision.

        Parameters
        ----------
        training : images, their targets, and prompts; `Training.random_state` draws the validation rows.

        Raises
        ------
        ValueError
            Without text and labels.
        """
        images, targets = training.labelled
        texts = texts_of(training)
        if texts is None:
            kept = np.unique(targets)
            weights, bias = discriminant(images, targets, training.n_targets, self.copies)
            self._set_linear(training, weights[kept], bias[kept], kept)
            return self
        alpha = self._alpha(training, texts)
        weights, bias = discriminant(images, targets, training.n_targets, self.copies)
        coef = LOGIT_SCALE * texts + alpha * weights
        self._set_linear(training, coef, alpha * bias, np.arange(training.n_targets))
        return self

    def _alpha(self, training: Training, texts: DoubleArray) -> float:
        if self.alpha is not None:
            return self.alpha
        split = validation_split(training)
        chosen = _DEFAULT
        if split is not None:
            weights, bias = discriminant(split.images, split.targets, training.n_targets, self.copies)
            held_out = unit_rows(split.held_out)
            by_text, by_label = LOGIT_SCALE * held_out @ texts.T, held_out @ weights.T + bias
            chosen = most_accurate(_GRID, lambda one: by_text + one * by_label, split.held_out_targets)
        self.chosen_ = {"alpha": chosen}
        return chosen


def discriminant(
    images: Rows, targets: IntArray, n_targets: int, copies: int = 1
) -> tuple[DoubleArray, DoubleArray]:
    """Weights (K, d) and biases (K,) of linear discriminant analysis; see `GaussianDiscriminant`.

    Parameters
    ----------
    images : (n, d) image rows of any length.
    targets : (n,) target of each; n = 0 gives zeros.
    n_targets : K.
    copies : times that each row counts.
    """
    n, d = images.shape
    if not n:
        return np.zeros((n_targets, d)), np.zeros(n_targets)
    rows = unit_rows(images)
    seen, index = np.unique(targets, return_inverse=True)
    of_seen = cluster_means(rows, index, len(seen))
    centred = rows - of_seen[index]
    spread = float(copies * np.square(centred).sum())  # trace of (N - 1) S, where N = copies * n
    means = np.tile(of_seen.mean(axis=0), (n_targets, 1))
    means[seen] = of_seen
    weights = means
    if spread > _NO_SPREAD * copies * n:
        weights = d * _solved(np.sqrt(copies) * centred, spread / (copies * n - 1), means)
    return weights, -np.log(n_targets) - (weights * means).sum(axis=1) / 2


def _solved(rows: DoubleArray, ridge: float, means: DoubleArray) -> DoubleArray:
    """(K, d) means times the inverse of ``rows.T rows + ridge I``, by the smaller of two systems."""
    n, d = rows.shape
    found: DoubleArray
    if n >= d:
        found = solve(rows.T @ rows + ridge * np.eye(d), means.T, assume_a="pos").T
    else:
        inner = solve(rows @ rows.T + ridge * np.eye(n), rows @ means.T, assume_a="pos")
        found = (means - (rows.T @ inner).T) / ridge
    return found
