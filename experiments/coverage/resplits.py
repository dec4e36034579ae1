"""Draw calibration images from a pool again and again, and count how many sets of the others have the truth.

The pool's scores are computed once. A transductive model answers calibration and new images together; so it
does here with the whole pool, which leaves all of it as exchangeable as calibration and new images alone.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from experiments.guarantees.sets import Pool
from fused_clip.guarantee import Guarantee
from fused_clip.guarantee.conformal import Per, nonconformity, prediction_sets
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray


class Split(NamedTuple):
    """One draw.

    Parameters
    ----------
    sets : (m, G) answers in the set of each new image.
    truth : (m,) their true answers.
    known : (n,) true answers of the calibration images.
    """

    sets: BoolArray
    truth: IntArray
    known: IntArray

    @property
    def hits(self) -> BoolArray:
        """(m,) whether a set has the truth."""
        return np.asarray(self.sets[np.arange(len(self.truth)), self.truth])


class Draws(NamedTuple):
    """Random draws from a pool.

    Parameters
    ----------
    count : number of draws.
    calibration, new : images of each.
    seed : of all draws.
    """

    count: int
    calibration: int
    new: int
    seed: int

    def positions(self, pool: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield positions of calibration images and of new ones.

        Parameters
        ----------
        pool : images there are.
        """
        rng = np.random.default_rng(self.seed)
        for _ in range(self.count):
            order = rng.permutation(pool)
            yield order[: self.calibration], order[self.calibration : self.calibration + self.new]


def resplit(model: SavedModel, pool: Pool, coverage: float, per: Per, drawn: Draws) -> list[Split]:
    """Make sets for every draw of calibration images.

    Parameters
    ----------
    model : any calibration images of its own are not used.
    pool : labelled images that it did not see.
    coverage, per : as of `fused_clip.guarantee.Guarantee`.
    drawn : the draws.

    Raises
    ------
    RuntimeError
        If `Guarantee` gives other sets for the first draw; not compared for a transductive model.
    """
    scores = nonconformity(model.predict_embeddings(pool.rows).scores, calibrated=model.calibrated)
    found: list[Split] = []
    for known, new in drawn.positions(len(pool.rows)):
        sets = prediction_sets(scores[known], pool.labels[known], scores[new], coverage, per)
        if not (found or model.transductive):
            answered = guaranteed(model, pool.take(known), coverage, per).answer(pool.rows[new])
            if not np.array_equal(sets, np.asarray(answered.sets)):
                raise RuntimeError("the guarantee of the package gives other sets than this study")
        found.append(Split(sets, pool.labels[new], pool.labels[known]))
    return found


def guaranteed(model: SavedModel, known: Pool, coverage: float, per: Per) -> Guarantee:
    """Make the guarantee that a model has with some calibration images.

    Parameters
    ----------
    model : any calibration images of its own are not used.
    known : the calibration images.
    coverage, per : as of `Guarantee`.
    """
    held = CalibrationRows(known.rows, known.labels, known.rows, known.labels)
    return Guarantee.of(replace(model, calibration=held), coverage, per)


class Coverage(NamedTuple):
    """Hits of a group of images in one draw, and what exchangeability makes of them.

    With n calibration images and no ties, the hits among m new images are beta-binomial, with parameters
    a = ceil((n + 1) c) and n + 1 - a: their share has the mean a / (n + 1) (Vovk 2012, arXiv:1209.2673).

    Parameters
    ----------
    hits, images : of new images.
    expected, variance : of the share of hits.
    """

    hits: int
    images: int
    expected: float
    variance: float

    @classmethod
    def of(cls, hits: BoolArray, calibration: int, coverage: float) -> "Coverage":
        """Count the hits.

        Parameters
        ----------
        hits : (m,) whether each set has the truth, m >= 1.
        calibration : n.
        coverage : c.
        """
        total, m = calibration + 1, len(hits)
        inside = min(math.ceil(total * coverage - 1e-9), total)
        share = inside / total
        return cls(int(hits.sum()), m, share, share * (1 - share) * (total + m) / (m * (total + 1)))


def summary(splits: list[Split], coverage: float, per: Per) -> dict[str, Any]:
    """Mean coverage over draws, its expectation, and how far it is off in standard errors.

    Draws are independent given the pool: of which scores a calibration sample has is all that is random.

    Parameters
    ----------
    splits : of `resplit`.
    coverage, per : as there.
    """
    every = [Coverage.of(one.hits, len(one.known), coverage) for one in splits]
    groups = [part for one in splits for part in _parts(one, coverage)] if per == "target" else every
    shares = np.array([one.hits / one.images for one in every])
    weights = np.array([one.images for one in groups]) / sum(one.images for one in groups)
    expected = float(weights @ [one.expected for one in groups])
    sd_of_mean = float(np.sqrt(weights**2 @ [one.variance for one in groups]))
    sizes = np.concatenate([one.sets.sum(axis=1) for one in splits])
    return {
        "calibration": len(splits[0].known),
        "new": len(splits[0].truth),
        "expected": expected,
        "coverage": float(shares.mean()),
        "sd": float(shares.std(ddof=1)),
        "z": float((shares.mean() - expected) / sd_of_mean),
        "worst_target": float(_of_targets(splits).min()),
        "size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
        "single": float((sizes == 1).mean()),
    }


def _parts(split: Split, coverage: float) -> Iterator[Coverage]:
    """Hits of each target's images."""
    counts = np.bincount(split.known, minlength=split.sets.shape[1])
    for target in np.unique(split.truth):
        yield Coverage.of(split.hits[split.truth == target], int(counts[target]), coverage)


def _of_targets(splits: list[Split]) -> DoubleArray:
    """(G,) coverage of each target's images over all draws."""
    truth = np.concatenate([one.truth for one in splits])
    hits = np.concatenate([one.hits for one in splits])
    return np.asarray(np.bincount(truth, hits) / np.bincount(truth))
