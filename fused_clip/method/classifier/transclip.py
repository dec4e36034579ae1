"""TransCLIP: a Gaussian mixture of a batch of images, guided by the prompts, with or without labels."""

from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array
from scipy.special import log_softmax, logsumexp

from fused_clip.method.classifier.batch import (
    LEAST_VARIANCE,
    BatchClassifier,
    Moments,
    check_mixture,
    gaussian_scores,
    log_assignments,
    neighbor_similarities,
)
from fused_clip.method.classifier.contract import Training
from fused_clip.method.classifier.ranges import check_count, check_number
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import l2_normalized, unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows

_GAMMAS = (0.002, 0.01, 0.02, 0.2)
_GAMMA = 0.02  # without labels to choose it on


class _Support(NamedTuple):
    """Rows with labels: their moments, their mean weight gamma, and (m, K) their pull on the batch."""

    moments: Moments
    gamma: float
    pull: DoubleArray


class TransClip(BatchClassifier):
    """Gaussian mixture of the batch, with assignments near the zero-shot probabilities.

    TransCLIP without labels (Zanella et al. 2024, arXiv:2406.01837). Each class is a Gaussian of a diagonal
    variance that all share. It starts at the mean of the images that are most confident of the class.
    Assignments follow the zero-shot probabilities, the Gaussians and those of similar images. It is made for
    batches that have every class; of a few classes use `StatA`.

    Parameters
    ----------
    text_weight : float
        Exponent of the zero-shot probabilities, at least 0.
    scale : float
        Factor of the cosine similarity in the zero-shot probabilities, at least 0: CLIP's is 100.
    neighbors : int
        Similar images that each assignment is smoothed with, at least 1.
    confident : int
        Images that a class starts from, at least 1.
    outer_steps : int
        Updates of means and variance, at least 1.
    inner_steps : int
        Updates of the assignments before each, at least 1.

    Attributes
    ----------
    text_of_target_ : (K, d) unit text row of the prompt that stands for each target.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """

    def __init__(
        self,
        text_weight: float = 1.0,
        scale: float = 100.0,
        neighbors: int = 3,
        confident: int = 8,
        outer_steps: int = 10,
        inner_steps: int = 5,
    ) -> None:
        check_number("text_weight", text_weight, low=0)
        check_count("confident", confident)
        check_mixture(scale, neighbors, outer_steps, inner_steps)
        self.text_weight = text_weight
        self.scale = scale
        self.neighbors = neighbors
        self.confident = confident
        self.outer_steps = outer_steps
        self.inner_steps = inner_steps

    def _log_probabilities(self, rows: DoubleArray) -> DoubleArray:
        return self._mixture(rows, neighbor_similarities(rows, rows, self.neighbors), None)

    def _mixture(self, rows: DoubleArray, graph: csr_array, support: _Support | None) -> DoubleArray:
        """Log-assignments of a batch with the graph of its rows."""
        logits = self.scale * rows @ self.text_of_target_.T
        zero_shot: DoubleArray = log_softmax(logits, axis=1)
        assigned = np.exp(zero_shot)
        prior = self.text_weight * zero_shot
        if support is not None:
            prior += support.pull
        means = self._first_means(rows, logits, support)
        variance = np.full(rows.shape[1], 1 / rows.shape[1])
        for _ in range(self.outer_steps):
            evidence = prior + gaussian_scores(rows, means, variance)
            log_assigned = log_assignments(evidence, graph, assigned, self.inner_steps)
            assigned = np.exp(log_assigned)
            means, variance = estimates(Moments.of(rows, assigned), means, support)
        return log_assigned

    def _first_means(self, rows: DoubleArray, logits: DoubleArray, support: _Support | None) -> DoubleArray:
        """Mean of the labelled rows of each class; without one, of its most confident images."""
        count = min(self.confident, len(rows))
        best = np.argsort(-log_odds(logits), axis=0, kind="stable")[:count]
        means: DoubleArray = rows[best].mean(axis=0)
        if support is not None:
            seen = support.moments.sizes > 0
            means[seen] = support.moments.sums[seen] / support.moments.sizes[seen, None]
        return means


class TransClipFewShot(TransClip):
    """TransCLIP with labels: labelled rows take part in means, variance and smoothing.

    The assignments of labelled rows stay (Zanella et al. 2024, arXiv:2406.01837). Their weight
    gamma is the value of .002, .01, .02, .2 with the best accuracy on held-out labels, which are predicted as
    a batch; ties go to the smallest, and where too few labels can be held out it is .02.

    Parameters
    ----------
    text_weight : float
        Exponent of the zero-shot probabilities, at least 0.
    scale : float
        Factor of the cosine similarity in the zero-shot probabilities, at least 0: CLIP's is 100.
    neighbors : int
        Similar images, of the batch or labelled, that each assignment is smoothed with, at least 1.
    confident : int
        Images that a class without a label starts from, at least 1.
    outer_steps : int
        Updates of means and variance, at least 1.
    inner_steps : int
        Updates of the assignments before each, at least 1.

    Attributes
    ----------
    text_of_target_ : (K, d) unit text row of the prompt that stands for each target.
    support_ : (s, d) unit rows with labels; None without any.
    support_targets_ : (s,) their targets; None without any.
    gamma_ : (1,) chosen weight of the labelled rows.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """

    uses_labels: ClassVar[bool] = True
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})
    support_: Rows | None = None
    support_targets_: IntArray | None = None

    def __init__(
        self,
        text_weight: float = 0.5,
        scale: float = 100.0,
        neighbors: int = 3,
        confident: int = 8,
        outer_steps: int = 10,
        inner_steps: int = 5,
    ) -> None:
        super().__init__(text_weight, scale, neighbors, confident, outer_steps, inner_steps)

    def fit(self, training: Training) -> Self:
        """Choose gamma, then keep the prompts and all labelled rows.

        Parameters
        ----------
        training : prompts, images and their targets; `Training.random_state` draws the held-out rows.
        """
        self.gamma_, self.support_, self.support_targets_ = np.array([_GAMMA]), None, None
        super().fit(training)
        gamma = self._chosen(training)
        self.gamma_, self.chosen_ = np.array([gamma]), {"gamma": gamma}
        self._keep(*training.labelled)
        return self

    def check_arrays(self) -> None:
        """Check that the labelled rows have targets, and that gamma is a positive number."""
        super().check_arrays()
        if self.gamma_.shape != (1,) or not self.gamma_[0] > 0:
            raise ValueError("gamma must be a number above 0")
        if self.support_ is not None:
            self._index("support_targets", len(self._floats("support")), self.n_targets_)

    def _keep(self, images: Rows, targets: IntArray) -> None:
        kept = len(images) > 0
        self.support_ = l2_normalized(images) if kept else None
        self.support_targets_ = targets.astype(np.int64) if kept else None

    def _log_probabilities(self, rows: DoubleArray) -> DoubleArray:
        return self._with_gammas(rows, [float(self.gamma_[0])])[0]

    def _with_gammas(self, rows: DoubleArray, gammas: list[float]) -> list[DoubleArray]:
        """Log-assignments for each weight of the labelled rows; the graph is made once."""
        if self.support_ is None or self.support_targets_ is None:
            return [super()._log_probabilities(rows)] * len(gammas)
        support = self.support_.astype(np.float64)
        labels = np.eye(self.n_targets_)[self.support_targets_]
        graph = neighbor_similarities(rows, np.concatenate([rows, support]), self.neighbors)
        among, pull = graph[:, : len(rows)], graph[:, len(rows) :] @ labels
        moments = Moments.of(support, labels)
        return [self._mixture(rows, among, _Support(moments, gamma, pull)) for gamma in gammas]

    def _chosen(self, training: Training) -> float:
        split = validation_split(training)
        if split is None or len(split.held_out) < 2:
            return _GAMMA
        self._keep(split.images, split.targets)
        rows = unit_rows(split.held_out)
        found = self._with_gammas(rows, list(_GAMMAS))
        right = [(one.argmax(axis=1) == split.held_out_targets).mean() for one in found]
        return _GAMMAS[int(np.argmax(right))]


def log_odds(logits: DoubleArray) -> DoubleArray:
    """Logarithm of ``p / (1 - p)`` for the softmax p of each row, also where p rounds to 1.

    Parameters
    ----------
    logits : (m, K) logits.
    """
    index = np.arange(len(logits))
    best = logits.argmax(axis=1)
    others = logits.copy()
    others[index, best] = -np.inf
    against = np.repeat(logsumexp(logits, axis=1, keepdims=True), logits.shape[1], axis=1)
    shares = np.exp(logits - against)
    shares[index, best] = 0  # computed from the others below
    against += np.log1p(-shares)
    against[index, best] = logsumexp(others, axis=1)
    odds: DoubleArray = logits - against
    return odds


def estimates(
    batch: Moments, means: DoubleArray, support: _Support | None
) -> tuple[DoubleArray, DoubleArray]:
    """Means (K, d) and shared variance (d,) of a batch and, with weight gamma, of the rows with labels.

    Parameters
    ----------
    batch : moments of the batch.
    means : (K, d) that a class without any row keeps.
    support : rows with labels; None for none.
    """
    mixed = batch
    if support is not None:
        mixed = batch.plus(support.moments, support.gamma * batch.sizes.sum() / support.moments.sizes.sum())
    there = mixed.sizes > 0
    means = np.where(there[:, None], mixed.sums / np.where(there, mixed.sizes, 1)[:, None], means)
    return means, np.maximum(mixed.scatter(means) / mixed.sizes.sum(), LEAST_VARIANCE)
