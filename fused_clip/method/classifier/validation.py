"""Rows on which a classifier chooses its settings, taken from the labelled ones."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from fused_clip.method.classifier.contract import Training
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.sampling import stratified_split

T = TypeVar("T")

_SHARE = 0.2  # of many labels
_FEW, _MOST_OF_FEW = 20, 4  # CoOp (Zhou et al. 2022, arXiv:2109.01134) validates on min(4, shots) a class


class HeldOut(NamedTuple):
    """Labelled rows in two parts; both are labelled.

    Parameters
    ----------
    images : (a, d) rows to fit on.
    targets : (a,) their targets.
    held_out : (b, d) rows to choose settings on.
    held_out_targets : (b,) their targets.
    """

    images: Rows
    targets: IntArray
    held_out: Rows
    held_out_targets: IntArray


def validation_split(training: Training, what: Literal["settings", "epochs"] = "settings") -> HeldOut | None:
    """Hold out labelled rows of every target; None where a target has a single label or none.

    A fifth of the labels, stratified; where some target has fewer than 20, ``min(4, labels // 2)`` of each.
    The budget of labels has both parts: a setting is chosen without further labels.

    Parameters
    ----------
    training : with targets; `Training.random_state` draws the rows. Its `leaked` rows of that use, if it has
        any, are held out instead.
    what : chosen on the rows.
    """
    images, targets = training.labelled
    if what in training.leaked:
        return HeldOut(images, targets, *training.leaked[what])
    kinds, counts = np.unique(targets, return_counts=True)
    if not len(kinds) or counts.min() < 2 or len(kinds) < 2:
        return None
    if counts.min() >= _FEW:
        kept, out = stratified_split(targets, _SHARE, training.random_state, option="validation")
    else:
        order = np.random.default_rng(training.random_state).permutation(len(targets))
        drawn = [
            order[targets[order] == kind][: min(_MOST_OF_FEW, n // 2)]
            for kind, n in zip(kinds, counts, strict=True)
        ]
        out = np.sort(np.concatenate(drawn))
        kept = np.setdiff1d(np.arange(len(targets)), out)
    return HeldOut(images[kept], targets[kept], images[out], targets[out])


def most_accurate(candidates: Iterable[T], scores: Callable[[T], DoubleArray], targets: IntArray) -> T:
    """Return the candidate whose scores are most often highest at the true target; ties go to the first.

    Parameters
    ----------
    candidates : at least one.
    scores : candidate -> (b, K) scores of b held-out rows.
    targets : (b,) their targets.
    """
    return max(candidates, key=lambda one: float((scores(one).argmax(axis=1) == targets).mean()))
