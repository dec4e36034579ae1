"""CLAP: prompts that are moved by labelled images, held back in proportion to their zero-shot probability."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.special import softmax

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training, cluster_means
from fused_clip.method.classifier.cross_entropy import cross_entropy, unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.option_types import NotNegative, Positive, Rounds, RoundsOrNone

_LOGIT_SCALE = 100  # CLIP's inverse temperature
_BATCH = 256
_MOMENTUM = 0.9
_WARM_UP_RATE = 1e-5  # of the first epoch


class Step(NamedTuple):
    """One step: the rows of its batch, and how far it goes.

    Parameters
    ----------
    rate : learning rate.
    batch : (b,) positions of rows.
    """

    rate: float
    batch: IntArray


class CLAP(Classifier):
    """Class-adaptive linear probe (Silva-Rodriguez et al. 2024, arXiv:2312.12730).

    The prototype w of each target starts at its text t. Stochastic gradient descent lowers the mean
    cross-entropy of ``100 cos(x, w_k)`` plus the mean over the targets of ``l_k |w_k - t_k|^2``. The
    multiplier l_k is the mean zero-shot probability of target k on its own labelled images: a prototype
    moves less where the text is right already. No setting is chosen, so no validation rows are held out.
    Steps are the authors': batches of 256, momentum 0.9, a first epoch at a rate of 1e-5, then a cosine
    schedule. Images are not augmented.

    The gradient of the penalty is taken after the step, not before. Results differ little at the usual
    multipliers, and the descent is stable at all of them.

    A target without a labelled image keeps its text.

    Parameters
    ----------
    epochs : int
        Passes over the labelled images, at least 0; with 0, this is zero-shot.
    learning_rate : float
        Highest rate, positive.
    penalty_scale : float
        Multiplies every l_k, at least 0; 0 is a linear probe that starts at the texts.
    text_norm : float
        Length of the texts at the start, positive. The authors do not normalise them; CLIP's have a length
        of about 10. A shorter prototype turns faster at the same rate.
    max_steps : int
        Steps at most, at least 1: with many labels, the epochs and their schedule are cut to fit.

    Attributes
    ----------
    prototypes_ : (K, d) prototypes, of any length.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True

    def __init__(
        self,
        epochs: RoundsOrNone = 300,
        learning_rate: Positive = 0.1,
        penalty_scale: NotNegative = 1.0,
        text_norm: Positive = 10.0,
        max_steps: Rounds = 10_000,
    ) -> None:
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.penalty_scale = penalty_scale
        self.text_norm = text_norm
        self.max_steps = max_steps

    def fit(self, training: Training) -> Self:
        """Descend from the texts.

        Parameters
        ----------
        training : images, prompts and targets; `Training.random_state` shuffles the batches.

        Raises
        ------
        ValueError
            Without text, or on a parameter out of range.
        """
        self._check_params()
        texts = self.text_norm * unit_rows(training.text_of_target)
        images, targets = training.labelled
        rows = unit_rows(images)
        penalties = self.penalty_scale * multipliers(rows, targets, texts) / len(texts)
        prototypes = texts
        velocity = np.zeros_like(texts)
        moved = np.isin(np.arange(len(texts)), targets)[:, None]
        steps = schedule(len(targets), self.epochs, self.learning_rate, self.max_steps, training.random_state)
        for rate, batch in steps:
            _, slope = objective(rows[batch], targets[batch], prototypes)
            velocity = _MOMENTUM * velocity + moved * slope
            pull = 2 * rate * penalties[:, None]
            # Solved for the new prototypes w: w = old - rate * (velocity + 2 l (w - texts)).
            new = (prototypes - rate * velocity + pull * texts) / (1 + pull)
            velocity, prototypes = (prototypes - new) / rate, new
        return self.restore({"prototypes": prototypes}, training.n_targets, training.fusion)

    def check_arrays(self) -> None:
        """Check that every target has a prototype of some length."""
        prototypes = self._floats("prototypes")
        if len(prototypes) != self.n_targets_:
            raise ValueError(f"prototypes must be {self.n_targets_} rows")
        self.targets_ = np.arange(self.n_targets_)

    def with_target(self, text: Rows) -> Self:
        """Add a target by its text, which it keeps as one without a labelled image does."""
        new = self.text_norm * unit_rows(text)
        return self._with_arrays(prototypes=np.concatenate([self.prototypes_, new]))

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by 100 times the cosine similarity, minus 100: in [-200, 0].

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        cosines = unit_rows(X) @ unit_rows(self.prototypes_).T
        return TargetScores(_LOGIT_SCALE * (cosines - 1))

    def _check_params(self) -> None:
        for name, least in (("epochs", 0), ("penalty_scale", 0), ("max_steps", 1)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {getattr(self, name)!r}")
        for name in ("learning_rate", "text_norm"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)!r}")


def schedule(count: int, epochs: int, rate: float, most: int, seed: int) -> Iterator[Step]:
    """Steps in batches of 256 (all rows where there are fewer): an epoch at a rate of 1e-5, then a cosine.

    Rows that do not fill a batch wait for another epoch, as in the authors' loader.

    Parameters
    ----------
    count : labelled rows.
    epochs : passes over them.
    rate : highest learning rate.
    most : steps at most; fewer epochs, with the whole cosine, where they would exceed it.
    seed : shuffles the rows of each epoch.
    """
    rng = np.random.default_rng(seed)
    size = min(max(count, 1), _BATCH)
    batches = min(count // size, most)
    fitting = min(epochs, most // max(batches, 1))
    for epoch in range(fitting):
        order = rng.permutation(count)
        now = rate * (1 + np.cos(np.pi * epoch / fitting)) / 2 if epoch else _WARM_UP_RATE
        for batch in range(batches):
            yield Step(now, order[batch * size : (batch + 1) * size])


def multipliers(rows: DoubleArray, targets: IntArray, texts: DoubleArray) -> DoubleArray:
    """Mean zero-shot probability of each target on its own images: (K,) in [0, 1], 0 without an image.

    Parameters
    ----------
    rows : (n, d) unit image rows.
    targets : (n,) target of each, in [0, K).
    texts : (K, d) text rows.
    """
    masses = np.zeros(len(texts))
    if len(targets):
        own = softmax(_LOGIT_SCALE * rows @ unit_rows(texts).T, axis=1)[np.arange(len(rows)), targets]
        seen, index = np.unique(targets, return_inverse=True)
        masses[seen] = cluster_means(own[:, None], index, len(seen))[:, 0]
    return masses


def objective(rows: DoubleArray, targets: IntArray, prototypes: DoubleArray) -> tuple[float, DoubleArray]:
    """Mean cross-entropy of cosine logits, and its gradient with respect to the prototypes.

    Parameters
    ----------
    rows : (n, d) unit image rows.
    targets : (n,) target of each, in [0, K).
    prototypes : (K, d) of any length.
    """
    norms = np.linalg.norm(prototypes, axis=1, keepdims=True)
    directions = prototypes / norms
    loss, residuals = cross_entropy(_LOGIT_SCALE * (rows @ directions.T), targets)
    slope = (_LOGIT_SCALE / len(rows)) * (residuals.T @ rows)
    # Only what is at right angles to a prototype turns it.
    slope -= (slope * directions).sum(axis=1, keepdims=True) * directions
    return loss / len(rows), slope / norms
