"""Class means shrunk towards the prompts."""

from typing import ClassVar, Literal, Self

import numpy as np

from fused_clip.method.classifier.contract import Training
from fused_clip.method.classifier.cosine import UnitLinear, texts_of
from fused_clip.method.classifier.ranges import check_number
from fused_clip.method.classifier.validation import most_accurate, validation_split
from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError

_GRID = (0.25, 1.0, 4.0, 16.0, 64.0)
_DEFAULT = 1.0


class ShrunkMean(UnitLinear):
    """Nearest class mean by cosine, shrunk to the class's prompt the more the fewer labels the class has.

    A class with n labels has the prototype ``normalise(b m + (1 - b) t)`` for ``b = n / (n + strength)``:
    m is the mean of its unit image rows, t its unit prompt. This is the anchor of StatA (Zanella et al. 2025,
    arXiv:2501.03729) with labels in place of soft assignments. A class without labels keeps its prompt, so
    that without any label the classifier is zero-shot. Without text, prototypes are the class means.

    Parameters
    ----------
    strength : float or "auto"
        Labels that the prompt counts for, at least 0. "auto" takes the value of 0.25, 1, 4, 16, 64 with the
        best accuracy on validation rows, the smallest of equals; 1 where there are too few labels.

    Attributes
    ----------
    coef_ : (S, d) prototypes, of unit length.
    intercept_ : (S,) -1 each: scores are cosines minus 1, as those of zero-shot.
    targets_ : (S,) targets that have a prototype.
    """

    uses_labels: ClassVar[bool] = True
    uses_clusters: ClassVar[bool] = False
    chooses: ClassVar[frozenset[str]] = frozenset({"settings"})
    uses_text: ClassVar[bool] = True

    def __init__(self, strength: float | Literal["auto"] = _DEFAULT) -> None:
        if isinstance(strength, str):
            if strength != "auto":
                raise InputError("classifier.strength", "must be a number or 'auto'", strength)
        else:
            check_number("strength", strength, low=0)
        self.strength = strength

    def fit(self, training: Training) -> Self:
        """Compute the prototypes.

        Parameters
        ----------
        training : images, their targets, and prompts.

        Raises
        ------
        ValueError
            Without text and labels.
        """
        images, targets = training.labelled
        texts = texts_of(training)
        strength = self._strength(training, texts)
        means, counts = _means(images, targets, training.n_targets)
        kept = np.flatnonzero((counts > 0) | (texts is not None))
        prototypes = _shrunk(means, counts, texts, strength)[kept]
        self._set_linear(training, prototypes, np.full(len(kept), -1.0), kept)
        return self

    def _strength(self, training: Training, texts: DoubleArray | None) -> float:
        if self.strength != "auto":
            return self.strength
        split = validation_split(training)
        chosen = _DEFAULT
        if split is not None and texts is not None:
            means, counts = _means(split.images, split.targets, training.n_targets)
            held_out = unit_rows(split.held_out)
            chosen = most_accurate(
                _GRID, lambda one: held_out @ _shrunk(means, counts, texts, one).T, split.held_out_targets
            )
        self.chosen_ = {"strength": chosen}
        return chosen


def _means(images: Rows, targets: IntArray, n_targets: int) -> tuple[DoubleArray, IntArray]:
    """(K, d) mean unit row of each target, zero where it has none, and (K,) rows of each."""
    counts = np.bincount(targets, minlength=n_targets)
    sums = np.zeros((n_targets, images.shape[1]))
    np.add.at(sums, targets, unit_rows(images))
    return sums / np.maximum(counts, 1)[:, None], counts


def _shrunk(means: DoubleArray, counts: IntArray, texts: DoubleArray | None, strength: float) -> DoubleArray:
    """(K, d) unit prototypes; zero for a target that has neither a label nor a text."""
    if texts is None:
        return unit_rows(means)
    share = np.where(counts > 0, counts / np.maximum(counts + strength, 1), 0)[:, None]
    return unit_rows(share * means + (1 - share) * texts)
