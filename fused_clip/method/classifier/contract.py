"""What every classifier is given, and what it answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone

from fused_clip.method.fusion import Fusion, LinearFusion
from fused_clip.support.arrays import Array, BoolArray, DoubleArray, FloatArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks


@dataclass(frozen=True)
class Training:
    """What a classifier may learn from; labels are there for those that declare ``uses_labels``.

    Parameters
    ----------
    images : (n, d) image embeddings, as the backbone gives them.
    n_targets : K.
    fused : (n, w) fused rows; None for a classifier that does not use clusters.
    clusters : (n,) cluster of each row, in [0, k); -1 is noise. None as `fused`.
    cluster_targets : (k,) target of each cluster, in [0, K). None as `fused`.
    texts : (p, d) text rows; None without text.
    prompt_of_target : (K,) prompt that stands for each target; None without text.
    targets : (n,) target of each row, -1 where it is not known; None where labels are not used.
    fusion : fuses new rows as the training rows were.
    random_state : seed of what randomness there is.
    leaked : rows and targets on which a classifier chooses under ``leak``, by what it chooses
        (`Classifier.chooses`); for other choices it takes labelled rows out.
    """

    images: Rows
    n_targets: int
    fused: Rows | None = None
    clusters: IntArray | None = None
    cluster_targets: IntArray | None = None
    texts: Rows | None = None
    prompt_of_target: IntArray | None = None
    targets: IntArray | None = None
    fusion: Fusion = field(default_factory=LinearFusion)
    random_state: int = 0
    leaked: Mapping[str, tuple[Rows, IntArray]] = field(default_factory=dict)

    @property
    def labelled(self) -> tuple[Rows, IntArray]:
        """(l, d) images whose targets are known, and (l,) those targets."""
        targets = np.asarray(self.targets)
        known = targets >= 0
        return (self.images, targets) if known.all() else (self.images[known], targets[known])

    @property
    def text_of_target(self) -> Rows:
        """(K, d) unit text row of the prompt that stands for each target.

        Raises
        ------
        ValueError
            Without text.
        """
        if self.texts is None or self.prompt_of_target is None:
            raise ValueError("this classifier needs prompts")
        rows = self.texts[self.prompt_of_target]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    @cached_property
    def centers(self) -> DoubleArray:
        """(k, w) mean of the fused rows of each cluster."""
        return self.means(self.fused)

    def means(self, rows: Rows | None) -> DoubleArray:
        """(k, w) mean of the rows of each cluster.

        Parameters
        ----------
        rows : (n, w) rows, in the order of `clusters`.

        Raises
        ------
        ValueError
            If there are no rows or no clusters.
        """
        if rows is None or self.clusters is None or self.cluster_targets is None:
            raise ValueError("this classifier needs clusters; set uses_clusters = True on its class")
        return cluster_means(rows, self.clusters, len(self.cluster_targets))

    def subset(self, kept: BoolArray) -> Self:
        """Keep some rows; clusters keep their targets, and those without a row left are gone.

        Parameters
        ----------
        kept : (n,) whether each row stays.
        """
        if self.clusters is None or self.cluster_targets is None:
            clusters, cluster_targets = self.clusters, self.cluster_targets
        else:
            kept = kept & (self.clusters >= 0)
            present, clusters = np.unique(self.clusters[kept], return_inverse=True)
            cluster_targets = self.cluster_targets[present]
        return replace(
            self,
            images=self.images[kept],
            fused=None if self.fused is None else self.fused[kept],
            clusters=clusters,
            cluster_targets=cluster_targets,
            targets=None if self.targets is None else self.targets[kept],
        )

    def at(self, rows: IntArray) -> Self:
        """Take some rows; clusters keep their numbers, and may be without a row.

        Parameters
        ----------
        rows : (m,) positions; all of them, in order, give this object.
        """
        if len(rows) == len(self.images):
            return self
        return replace(
            self,
            images=self.images[rows],
            fused=None if self.fused is None else self.fused[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
            targets=None if self.targets is None else self.targets[rows],
        )


class Assignment(NamedTuple):
    """The answer for each of m rows.

    Parameters
    ----------
    targets : (m,) predicted target, in [0, K).
    prompts : (m,) prompt of that target; -1 without text.
    clusters : (m,) nearest cluster of that target; -1 for a classifier without clusters.
    distances : (m,) minus the score of that target; for centroids the distance to the cluster's.
    margins : (m,) that score minus the next target's; inf where there is no other target.
    """

    targets: IntArray
    prompts: IntArray
    clusters: IntArray
    distances: FloatArray
    margins: FloatArray


@dataclass(frozen=True)
class TargetScores:
    """Scores of m rows for K targets.

    Parameters
    ----------
    values : (m, K) the higher the better, on any scale: a temperature turns them into probabilities. -inf
        for a target that can't be predicted.
    clusters : (m, K) nearest cluster of each target, -1 for none; None for a classifier without clusters.
    """

    values: DoubleArray
    clusters: IntArray | None = None

    def assign(self, prompt_of_target: IntArray | None) -> Assignment:
        """Choose the best target of each row; ties go to the lowest.

        Parameters
        ----------
        prompt_of_target : (K,) prompt that stands for each target; None without text.
        """
        rows = np.arange(len(self.values))
        targets = self.values.argmax(axis=1)
        best = self.values[rows, targets]
        others = self.values.copy()
        others[rows, targets] = -np.inf
        nothing = np.full(len(rows), -1)
        return Assignment(
            targets,
            nothing if prompt_of_target is None else prompt_of_target[targets],
            nothing if self.clusters is None else self.clusters[rows, targets],
            (-best).astype(np.float32),
            (best - others.max(axis=1)).astype(np.float32),
        )


class Classifier(BaseEstimator, ABC):  # type: ignore[misc]
    """Contract of a classifier; a scikit-learn estimator, so that it can be cloned and searched over.

    A fitted classifier is data: its arrays are the attributes whose names end in an underscore, so that a
    model of it can be saved and calibrated without further code.

    Attributes
    ----------
    uses_labels : whether `fit` is given the labels of the training rows.
    uses_clusters : whether `fit` is given the fused rows and their clusters.
    uses_text : whether `fit` needs the prompts.
    transductive : whether `target_scores` depends on all rows that it is given together: they are then a
        batch of at least two images.
    chooses : what it chooses on validation rows: ``settings``, ``epochs``, both or nothing.
    chosen_ : settings that `fit` chose, by name, for the run's record; empty if it chose none.
    targets_ : targets that can be predicted, ascending, in [0, K).
    """

    uses_labels: ClassVar[bool] = False
    uses_clusters: ClassVar[bool] = True
    uses_text: ClassVar[bool] = False
    transductive: ClassVar[bool] = False
    chooses: ClassVar[frozenset[str]] = frozenset()
    chosen_: Mapping[str, float] = MappingProxyType({})
    targets_: IntArray

    @abstractmethod
    def fit(self, training: Training) -> Self:
        """Learn from the training rows.

        Parameters
        ----------
        training : rows, clusters, prompts and, if the class declares ``uses_labels``, targets.
        """

    @abstractmethod
    def target_scores(self, X: Rows) -> TargetScores:
        """Score every target for new images.

        Parameters
        ----------
        X : (m, d) image embeddings, as the backbone gives them.
        """

    def without_text(self, training: Training) -> Self | None:
        """Be fitted on the same rows and clusters with equal text rows, so that no text speaks for a target.

        Every text row becomes their mean, in new rows and in what was learnt from training rows. None for a
        classifier without text, and where what was learnt can't be had anew in closed form.

        Parameters
        ----------
        training : images, number of targets and clusters that the classifier was fitted on.
        """
        return None

    def check_arrays(self) -> None:
        """Check restored arrays, and set `targets_` if it is not among them; raises `ValueError`."""

    def arrays(self) -> dict[str, Array]:
        """Fitted arrays by name: the attributes that end in an underscore, without it."""
        fitted = {name[:-1]: value for name, value in vars(self).items() if name.endswith("_")}
        return {name: value for name, value in fitted.items() if isinstance(value, np.ndarray)}

    def restore(self, arrays: Mapping[str, Array], n_targets: int, fusion: Fusion) -> Self:
        """Be fitted with arrays that `arrays` gave.

        Parameters
        ----------
        arrays : fitted arrays by name.
        n_targets : K.
        fusion : fuses new rows.

        Raises
        ------
        ValueError
            If the arrays are not those of a fitted classifier of this class.
        """
        for name, array in arrays.items():
            setattr(self, f"{name}_", array)
        self.n_targets_, self.fusion_ = n_targets, fusion
        self.check_arrays()
        return self

    def with_target(self, text: Rows) -> Self:
        """Add a target that a text describes, as number K; nothing is trained anew, and this one stays.

        Parameters
        ----------
        text : (1, d) text row as the backbone gives it.

        Raises
        ------
        InputError
            If the classifier knows its targets by their images alone.
        """
        kind = type(self).__name__
        rule = f"can't be added to {kind}, which knows its targets by their images alone"
        hint = "Use a run with prompts and classifier=constrained_centroid or zero_shot"
        raise InputError("target", rule, hint=hint)

    def _with_arrays(self, **changed: Array) -> Self:
        """A copy with one more target, and some fitted arrays replaced."""
        other: Self = clone(self)
        return other.restore({**self.arrays(), **changed}, self.n_targets_ + 1, self.fusion_)

    def _floats(self, name: str) -> Rows:
        """A matrix of finite numbers among the fitted arrays."""
        array = getattr(self, f"{name}_", None)
        if array is None or array.dtype.kind != "f" or array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name} must be a matrix of floats")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        return np.asarray(array)

    def _index(self, name: str, length: int, count: int) -> IntArray:
        """An index among the fitted arrays: `length` numbers below `count`."""
        array = getattr(self, f"{name}_", None)
        if array is None or array.dtype.kind != "i" or array.shape != (length,):
            raise ValueError(f"{name} must be {length} whole numbers")
        if array.min() < 0 or array.max() >= count:
            raise ValueError(f"{name} must be in [0, {count})")
        return np.asarray(array)


def equal_rows(rows: Rows) -> Rows:
    """Replace each row by the mean of all.

    Parameters
    ----------
    rows : (p, d) rows, p >= 1.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    return np.tile(mean, (len(rows), 1))


def cluster_means(rows: Rows, clusters: IntArray, n_clusters: int) -> DoubleArray:
    """Mean of the rows of each cluster, (k, d); rows of cluster -1 are left out.

    Parameters
    ----------
    rows : (n, d) rows.
    clusters : (n,) cluster of each row, in [0, k) or -1; every cluster must have a row.
    n_clusters : k.
    """
    kept = np.flatnonzero(clusters >= 0)
    counts = np.bincount(clusters[kept], minlength=n_clusters)
    sums = np.zeros((n_clusters, rows.shape[1]))
    for block in row_blocks(len(rows)):  # a product copies the rows that it takes to float64
        own = kept[np.searchsorted(kept, block.start) : np.searchsorted(kept, block.stop)]
        entries = (np.ones(len(own)), (clusters[own], own - block.start))
        sums += csr_array(entries, shape=(n_clusters, block.stop - block.start)) @ rows[block]
    return np.asarray(sums / counts[:, None], dtype=np.float64)
