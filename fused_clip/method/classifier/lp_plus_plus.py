"""LP++: a linear probe whose weights blend visual prototypes with the texts."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.utils import gen_batches

from fused_clip.method.classifier.contract import Classifier, TargetScores, Training, cluster_means
from fused_clip.method.classifier.cross_entropy import cross_entropy, unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.option_types import Count, Rounds, Share

_CHUNK = 4096  # rows whose logits are in memory, and in the processor's cache, at a time
_START_OF_ALPHA = 250  # the authors'; times the mean similarity of images and their own texts
_MOST_SHOTS = 16  # of the paper's experiments


class Blocks(NamedTuple):
    """The two blocks of variables that LP++ descends in turn, or the gradient of each.

    Parameters
    ----------
    prototypes : (K, d) visual prototype of each target.
    multipliers : (K,) multiplier of each target's text.
    """

    prototypes: DoubleArray
    multipliers: DoubleArray


class Problem(NamedTuple):
    """The few labelled rows, and how well each text fits each of them.

    Parameters
    ----------
    rows : (n, d) unit image rows.
    targets : (n,) target of each, in [0, K).
    similarities : (n, K) of rows and texts.
    """

    rows: DoubleArray
    targets: IntArray
    similarities: DoubleArray

    def evaluate(self, at: Blocks) -> tuple[float, Blocks]:
        """Mean cross-entropy of the logits ``x (w_k + alpha_k t_k)``, and its gradient.

        Parameters
        ----------
        at : value of both blocks.
        """
        count = len(self.rows)
        loss, slope = 0.0, Blocks(np.zeros_like(at.prototypes), np.zeros_like(at.multipliers))
        for part in gen_batches(count, _CHUNK):
            logits = self.rows[part] @ at.prototypes.T
            logits += at.multipliers * self.similarities[part]
            own_loss, residuals = cross_entropy(logits, self.targets[part])
            loss += own_loss
            slope.prototypes[:] += residuals.T @ self.rows[part]
            slope.multipliers[:] += np.einsum("ik,ik->k", residuals, self.similarities[part])
        return loss / count, Blocks(slope.prototypes / count, slope.multipliers / count)

    def step_sizes(self) -> tuple[float, float]:
        """Largest steps of prototypes and multipliers that never raise the loss: 2 over the Lipschitz bound.

        The Hessian of a softmax is at most 1/2, so that the gradient has a Lipschitz constant of at most
        ``lambda_max(X'X) / 2n`` in the prototypes, ``max_k sum_i (x_i t_k)^2 / 2n`` in the multipliers.
        """
        rows, count = self.rows, len(self.rows)
        gram = rows.T @ rows if count > rows.shape[1] else rows @ rows.T
        largest = float(np.linalg.eigvalsh(gram)[-1]), float((self.similarities**2).sum(axis=0).max())
        return 4 * count / max(largest[0], 1e-12), 4 * count / max(largest[1], 1e-12)

    def start(self, n_targets: int) -> Blocks:
        """Approximate minima of both blocks: sums of each target's rows, and one multiplier for all texts.

        Parameters
        ----------
        n_targets : K; each has a row.
        """
        own = self.similarities[np.arange(len(self.rows)), self.targets]
        fit = cluster_means(own[:, None], self.targets, n_targets).mean()
        shots = min(len(self.rows) / n_targets, _MOST_SHOTS)
        means = cluster_means(self.rows, self.targets, n_targets)
        return Blocks(shots * means, np.full(n_targets, _START_OF_ALPHA * fit))


def descend(
    problem: Problem, start: Blocks, steps: int, momentum: float, text_every: int
) -> Iterator[tuple[float, Blocks]]:
    """Descend both blocks in turn, all rows at once; yield the loss before each step and the blocks after it.

    Parameters
    ----------
    problem : labelled rows.
    start : of both blocks.
    steps : of the prototypes.
    momentum : of the prototypes' steps, in [0, 1).
    text_every : steps of the prototypes before each of the multipliers.
    """
    prototype_step, multiplier_step = problem.step_sizes()
    at, velocity = start, np.zeros_like(start.prototypes)
    for step in range(1, steps + 1):
        loss, slope = problem.evaluate(at)
        velocity = momentum * velocity + slope.prototypes
        at = at._replace(prototypes=at.prototypes - prototype_step * velocity)
        yield loss, at
        if step % text_every == 0:
            loss, slope = problem.evaluate(at)
            at = at._replace(multipliers=at.multipliers - multiplier_step * slope.multipliers)
            yield loss, at


class LPPlusPlus(Classifier):
    """Linear probe with weights ``w_k + alpha_k t_k`` on unit images (Huang et al. 2024, arXiv:2404.02285).

    Cross-entropy is descended in turn over the visual prototypes w and over the multipliers alpha of the
    texts, without a penalty. Steps follow from the Lipschitz constants of each block and settings are not
    chosen, so all labels are trained on. The prototypes start at the sum of each target's images, every
    alpha at 250 times the mean similarity of images and their own texts. The paper has at most 16 images
    of each target, the same number of each: where there are more, or not the same number, the start is
    ``min(16, mean number)`` times the mean image of the target.

    A target without an image has the average prototype and multiplier: only its text sets it apart.

    Parameters
    ----------
    steps : int
        Steps of the prototypes, at least 1.
    momentum : float
        Of those steps, in [0, 1); without momentum no step raises the loss.
    text_every : int
        Steps of the prototypes before each step of the multipliers, at least 1.

    Attributes
    ----------
    coef_ : (K, d) weights of each target, for unit images.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    uses_text: ClassVar[bool] = True

    def __init__(self, steps: Rounds = 300, momentum: Share = 0.9, text_every: Count = 10) -> None:
        self.steps = steps
        self.momentum = momentum
        self.text_every = text_every

    def fit(self, training: Training) -> Self:
        """Start from the labelled rows, then descend.

        Parameters
        ----------
        training : images, prompts and targets.

        Raises
        ------
        ValueError
            Without text or labels, or on a parameter out of range.
        """
        self._check_params()
        texts = unit_rows(training.text_of_target)
        images, targets = training.labelled
        if not len(targets):
            raise ValueError("LP++ needs a labelled image")
        seen, index = np.unique(targets, return_inverse=True)
        rows = unit_rows(images)
        problem = Problem(rows, index, rows @ texts[seen].T)
        at = problem.start(len(seen))
        for _, blocks in descend(problem, at, self.steps, self.momentum, self.text_every):
            at = blocks
        # A common shift of all prototypes changes no probability: the average one favours no target.
        prototypes = np.tile(at.prototypes.mean(axis=0), (training.n_targets, 1))
        multipliers = np.full(training.n_targets, at.multipliers.mean())
        prototypes[seen], multipliers[seen] = at.prototypes, at.multipliers
        coef = prototypes + multipliers[:, None] * texts
        return self.restore({"coef": coef}, training.n_targets, training.fusion)

    def check_arrays(self) -> None:
        """Check that every target has weights."""
        if len(self._floats("coef")) != self.n_targets_:
            raise ValueError(f"coef must be {self.n_targets_} rows")
        self.targets_ = np.arange(self.n_targets_)

    def target_scores(self, X: Rows) -> TargetScores:
        """Score each target by its log-probability.

        Parameters
        ----------
        X : (m, d) image embeddings.
        """
        return TargetScores(log_softmax(unit_rows(X) @ self.coef_.T, axis=1))

    def _check_params(self) -> None:
        for name in ("steps", "text_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum!r}")
