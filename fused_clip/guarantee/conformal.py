"""Split-conformal prediction: p-values against calibration images, and sets of answers from them.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", Springer 2005. The p-values are those of
the library crepes.
"""

import math
from typing import Literal

import numpy as np

from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray
from fused_clip.support.errors import InputError

Per = Literal["all", "target"]
_ROUNDING = 1e-9  # 1 - .9 is below .1 in floating point: a p-value of .1 must not count as above it


def p_values(calibration: DoubleArray, scores: DoubleArray) -> DoubleArray:
    """Share of calibration scores that are at least as high, the new one counted: same shape as `scores`.

    ``(1 + number of them) / (n + 1)``. If a new image is exchangeable with the calibration images, its
    p-value is at most a with probability at most a.

    Parameters
    ----------
    calibration : (n,) nonconformity of each calibration image, n >= 1; inf is allowed.
    scores : (m, k) nonconformity of new images; the higher the less alike.
    """
    from crepes.base import ConformalClassifier

    if not len(scores):
        return np.empty(scores.shape)
    conformal = ConformalClassifier()
    conformal.fit(calibration)
    found: DoubleArray = conformal.predict_p(scores, smoothing=False)
    return found


def prediction_sets(
    calibration: DoubleArray, truth: IntArray, scores: DoubleArray, coverage: float, per: Per
) -> BoolArray:
    """Give each image the answers that its p-value does not rule out: (m, G).

    With the score -log p these are the sets of least mean size among those with the coverage: Sadinle, Lei
    and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", JASA 2019. A set may
    be empty.

    Parameters
    ----------
    calibration : (n, G) nonconformity of calibration images for each answer.
    truth : (n,) their true answer, in [0, G); -1 for one that can't be answered, which no set has.
    scores : (m, G) nonconformity of new images.
    coverage : share of images whose set has the true answer, in (0, 1).
    per : over all images, or over those of each answer.
    """
    own = np.where(truth >= 0, calibration[np.arange(len(truth)), truth], np.inf)
    if per == "all":
        p = p_values(own, scores)
    else:
        each = (p_values(own[truth == k], scores[:, [k]]) for k in range(scores.shape[1]))
        p = np.concatenate(list(each), axis=1)
    allowed: BoolArray = p > 1 - coverage + _ROUNDING
    return allowed


def least_rows(coverage: float) -> int:
    """Fewest calibration images that rule any answer out: the smallest n with n + 1 >= 1 / (1 - c).

    Parameters
    ----------
    coverage : c, in (0, 1).
    """
    return max(1, math.ceil(1 / (1 - coverage) - _ROUNDING) - 1)


def check_enough(option: str, level: float, count: int, of: str = "") -> None:
    """Raise InputError if there are too few calibration images for a level.

    Parameters
    ----------
    option : names the level.
    level : coverage, or 1 - share of known images that may be called unknown.
    count : calibration images there are.
    of : the answer that they are of; empty for all.
    """
    need = least_rows(level)
    if count < need:
        images = f"calibration images of {of!r}" if of else "calibration images"
        rule = f"needs at least {need} {images} at this level, and the model has {count}"
        hint = "Run again with a larger calibration.share or more images, or ask for less"
        raise InputError(option, rule, hint=hint)


def nonconformity(scores: DoubleArray, *, calibrated: bool) -> DoubleArray:
    """How little each answer fits: -log of its probability, or without probabilities a gap of scores: (m, G).

    The gap is the best score of another answer minus the answer's. Probabilities near 1 are all the same in
    floating point; their logarithms here are not.

    Parameters
    ----------
    scores : of `Predictions`.
    calibrated : whether they are log-probabilities up to a constant.
    """
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    top = scores[rows, best][:, None]
    if not calibrated:
        others = scores.copy()
        others[rows, best] = -np.inf
        gaps: DoubleArray = top - scores
        gaps[rows, best] = others.max(axis=1) - top[:, 0]
        return gaps
    odds = np.exp(scores - top)
    odds[rows, best] = 0
    return np.asarray(top - scores + np.log1p(odds.sum(axis=1, keepdims=True)))
