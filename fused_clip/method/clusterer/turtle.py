"""Clusters that linear classifiers find again: the search of TURTLE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, validate_data

from fused_clip.method.clusterer.generalisation import FOLDS, generalisation_score
from fused_clip.method.clusterer.rows import standardised
from fused_clip.support.arrays import FloatArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import NotNegative, Positive, Rounds, TwoOrMore

if TYPE_CHECKING:
    import torch

Spaces = Literal["images", "fused", "both"]
_FLOATS = [np.float64, np.float32]


class Turtle(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Search for the labelling that linear classifiers fit best: TURTLE.

    Method: Gadetsky et al., "Let go of your labels with unsupervised transfer" (ICML 2024, arXiv:2406.07236).
    In each space of the rows one linear map with normalised weights gives soft labels; the labelling is their
    mean. Linear classifiers in each space follow it by a few steps of Adam from where they were (a warm
    start). Then the labelling takes a step towards what they predict; the entropy of its mean is a reward, so
    clusters tend to one size. Of several runs the one whose labels generalise best is kept.

    Parameters
    ----------
    n_clusters : int, in [1, n]
    iterations : int, at least 1
        Steps of the labelling; its authors take 6,000.
    batch_size : int, at least 2
        Rows in a step; its authors take 10,000.
    inner_steps : int, at least 1
        Steps of the classifiers for each step of the labelling.
    learning_rate : float, above 0
        Of Adam, for both.
    entropy_weight : float, at least 0
    restarts : int, at least 1
        Runs from other starts.
    spaces : {"images", "fused", "both"}
        The rows in which the labelling is searched, where `images` are given; else the only space is X.
    images : (n, e) array or None
        Embeddings of the images, where X are fused rows. A run sets them.
    random_state : int, RandomState or None

    Attributes
    ----------
    labels_ : (n,) cluster of each row, in [0, n_clusters); a cluster may be empty.
    score_ : `generalisation_score` of these labels in the first space; NaN for one cluster or under ten rows.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        iterations: Rounds = 1000,
        batch_size: TwoOrMore = 1000,
        inner_steps: Rounds = 10,
        learning_rate: Positive = 0.001,
        entropy_weight: NotNegative = 10.0,
        restarts: Rounds = 1,
        spaces: Spaces = "images",
        images: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.iterations = iterations
        self.batch_size = batch_size
        self.inner_steps = inner_steps
        self.learning_rate = learning_rate
        self.entropy_weight = entropy_weight
        self.restarts = restarts
        self.spaces = spaces
        self.images = images
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Search for a labelling.

        Parameters
        ----------
        X : (n, d) rows.
        y : ignored.

        Raises
        ------
        InputError
            If a parameter is out of its range.
        ValueError
            If X or `images` is not a finite matrix, or they differ in rows.
        """
        rows = validate_data(self, X, dtype=_FLOATS)
        self._check_params(len(rows))
        spaces = [standardised(space) for space in self._spaces(rows)]
        random = check_random_state(self.random_state)
        best = -np.inf
        for seed in random.randint(2**31 - 1, size=self.restarts):
            labels = self._search(spaces, int(seed))
            score = self._score(spaces[0], labels)
            if np.isnan(score) or score > best:
                self.labels_, self.score_, best = labels, score, score
        return self

    def _spaces(self, rows: Rows) -> list[Rows]:
        if self.images is None:
            return [rows]
        images = check_array(self.images, dtype=_FLOATS)
        if len(images) != len(rows):
            raise ValueError(f"images must have {len(rows)} rows, as X has, got {len(images)}")
        return {"images": [images], "fused": [rows], "both": [images, rows]}[self.spaces]

    def _score(self, rows: Rows, labels: IntArray) -> float:
        if self.n_clusters == 1 or len(rows) < FOLDS:
            return float("nan")
        return generalisation_score(rows, labels) if len(np.unique(labels)) > 1 else 0.0

    def _search(self, spaces: Sequence[FloatArray], seed: int) -> IntArray:
        """(n,) label of each row, found from one start."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        tensors = [torch.from_numpy(space) for space in spaces]
        tasks = [SoftLabels.start(space.shape[1], self.n_clusters, generator) for space in spaces]
        heads = [LinearHead.start(space.shape[1], self.n_clusters) for space in spaces]
        outer = torch.optim.Adam([part for task in tasks for part in task], self.learning_rate)
        inner = torch.optim.Adam([part for head in heads for part in head], self.learning_rate)
        for _ in range(self.iterations):
            batch = torch.randperm(len(spaces[0]), generator=generator)[: self.batch_size]
            some = [tensor[batch] for tensor in tensors]
            labels = [task.labels(rows) for task, rows in zip(tasks, some, strict=True)]
            target = torch.stack(labels).mean(0).detach()
            for _ in range(self.inner_steps):
                for head, rows in zip(heads, some, strict=True):
                    head.set_gradient(rows, target)
                inner.step()
            outer.zero_grad()
            logits = [head.logits(rows) for head, rows in zip(heads, some, strict=True)]
            outer_loss(labels, logits, self.entropy_weight).backward()  # type: ignore[no-untyped-call]
            outer.step()
        with torch.no_grad():
            found = torch.stack([task.labels(rows) for task, rows in zip(tasks, tensors, strict=True)])
        return found.mean(0).argmax(1).numpy()

    def _check_params(self, n_rows: int) -> None:
        if not 1 <= self.n_clusters <= n_rows:
            rule = f"must be at least 1 and at most the number of rows (n_samples = {n_rows})"
            raise InputError("n_clusters", rule, self.n_clusters)
        for name, least in (("iterations", 1), ("batch_size", 2), ("inner_steps", 1), ("restarts", 1)):
            if getattr(self, name) < least:
                raise InputError(f"clusterer.{name}", f"must be at least {least}", getattr(self, name))
        if not self.learning_rate > 0:
            raise InputError("clusterer.learning_rate", "must be above 0", self.learning_rate)
        if not self.entropy_weight >= 0:
            raise InputError("clusterer.entropy_weight", "must be at least 0", self.entropy_weight)
        if self.spaces not in get_args(Spaces):
            raise InputError(
                "clusterer.spaces", "must be a known space", self.spaces, choices=get_args(Spaces)
            )


class SoftLabels(NamedTuple):
    """A linear map with normalised weights, whose softmax gives soft labels.

    Parameters
    ----------
    directions : (K, d) weights, of any length.
    lengths : (K, 1) length that each row of the weights has in the map.
    offsets : (K,) constants.
    """

    directions: torch.Tensor
    lengths: torch.Tensor
    offsets: torch.Tensor

    @classmethod
    def start(cls, width: int, count: int, generator: torch.Generator) -> Self:
        """Draw a start: weights uniform in +-1 / sqrt(d), offsets 0.

        Parameters
        ----------
        width : d.
        count : K.
        generator : of the draw.
        """
        import torch

        directions = (2 * torch.rand(count, width, generator=generator) - 1) / width**0.5
        parts = (directions, directions.norm(dim=1, keepdim=True), torch.zeros(count))
        return cls(*(part.requires_grad_() for part in parts))

    def labels(self, rows: torch.Tensor) -> torch.Tensor:
        """Soft labels of rows: (b, K), rows sum to 1.

        Parameters
        ----------
        rows : (b, d) rows.
        """
        import torch

        weights = self.lengths * self.directions / self.directions.norm(dim=1, keepdim=True)
        return torch.softmax(rows @ weights.T + self.offsets, dim=1)


class LinearHead(NamedTuple):
    """A linear classifier.

    Parameters
    ----------
    weights : (K, d).
    offsets : (K,).
    """

    weights: torch.Tensor
    offsets: torch.Tensor

    @classmethod
    def start(cls, width: int, count: int) -> Self:
        """Start from zeros.

        Parameters
        ----------
        width : d.
        count : K.
        """
        import torch

        return cls(torch.zeros(count, width), torch.zeros(count))

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of rows: (b, K).

        Parameters
        ----------
        rows : (b, d) rows.
        """
        return rows @ self.weights.T + self.offsets

    def set_gradient(self, rows: torch.Tensor, labels: torch.Tensor) -> None:
        """Set the gradient of the mean cross-entropy, in closed form, without a graph for each step.

        Parameters
        ----------
        rows : (b, d) rows.
        labels : (b, K) soft labels.
        """
        error = (self.logits(rows).softmax(dim=1) - labels) / len(rows)
        self.weights.grad, self.offsets.grad = error.T @ rows, error.sum(0)


def outer_loss(
    labels: Sequence[torch.Tensor], logits: Sequence[torch.Tensor], entropy_weight: float
) -> torch.Tensor:
    """Cross-entropy of the classifiers with the mean labels, minus the weighted entropy of labels.

    The classifiers are constants in it: a first-order gradient.

    Parameters
    ----------
    labels : one (b, K) of soft labels a space.
    logits : one (b, K) of the classifier a space.
    entropy_weight : of the entropy of the mean over the rows.
    """
    import torch

    together = torch.stack(list(labels)).mean(0)
    loss = torch.zeros((), dtype=together.dtype)
    for own, said in zip(labels, logits, strict=True):
        shares = own.mean(0)
        loss = loss - (together * said.log_softmax(dim=1)).sum(1).mean()
        loss = loss - entropy_weight * torch.special.entr(shares).sum()
    return loss
