"""What a model promises of its answers: sets with a coverage, and few known images called unknown."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fused_clip.guarantee.conformal import (
    Per,
    check_enough,
    nonconformity,
    p_values,
    prediction_sets,
)
from fused_clip.guarantee.novelty import novelty
from fused_clip.guarantee.shift import ShiftTest, shift_test
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.model.constraint_parsing import check_promise
from fused_clip.model.predictions import Predictions
from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import BoolArray, DoubleArray, FloatArray, IntArray, Rows
from fused_clip.support.errors import InputError


def promised(
    model: SavedModel, coverage: float | None, per: Per, unknown: float | None
) -> "Guarantee | None":
    """Give the guarantee that is asked for; None if there is none.

    Parameters
    ----------
    model, coverage, per, unknown : as of `Guarantee`.

    Raises
    ------
    InputError
        As `Guarantee.of`.
    """
    check_promise(coverage, per, unknown)
    asked = coverage is not None or unknown is not None
    return Guarantee.of(model, coverage, per, unknown) if asked else None


def promised_columns(*, coverage: bool, unknown: bool) -> list[str]:
    """Name the columns that a table has for a guarantee.

    Parameters
    ----------
    coverage, unknown : whether there are sets, and calls of "unknown".
    """
    return ["set", "set_size", "guarantee"] * coverage + ["unknown"] * unknown


@dataclass(frozen=True)
class Answered:
    """Answers for m images.

    Parameters
    ----------
    predictions : the answers.
    sets : (m, G) the answers in each image's set; None if no coverage was asked for.
    unknown : (m,) whether an image is like none of the targets; None if no share was given.
    """

    predictions: Predictions
    sets: BoolArray | None
    unknown: BoolArray | None

    def records(
        self, threshold: float = 0.0, *, top_k: int = 1, each: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Give each image's row of a table: that of `Predictions.records`, and those of `promised_columns`.

        Parameters
        ----------
        threshold, top_k, each : as of `Predictions.records`.
        """
        names = self.predictions.names
        for row, record in enumerate(self.predictions.records(threshold, top_k=top_k, each=each)):
            if self.sets is not None:
                own = [names[answer] for answer in np.flatnonzero(self.sets[row])]
                record |= {"set": own, "set_size": len(own)}
            if self.unknown is not None:
                record["unknown"] = bool(self.unknown[row])
            yield record


@dataclass(frozen=True)
class Guarantee:
    """A model with what it promises of new images that are like its calibration images; made by `of`.

    Parameters
    ----------
    model : with its constraint.
    calibration : its calibration rows that the constraint leaves.
    coverage : share of images whose set has the truth, in (0, 1); None for no sets.
    per : whether the coverage is that of all images, or of the images of each answer.
    unknown : at most this share of known images is called unknown, in (0, 1); None for no such call.
    """

    model: SavedModel
    calibration: CalibrationRows
    coverage: float | None
    per: Per
    unknown: float | None

    @classmethod
    def of(
        cls,
        model: SavedModel,
        coverage: float | None = None,
        per: Per = "all",
        unknown: float | None = None,
    ) -> "Guarantee":
        """Check that the model can promise it.

        Parameters
        ----------
        model, coverage, per, unknown : as of the class.

        Raises
        ------
        InputError
            If a level is not between 0 and 1; if the model has no calibration rows, or too few for a level;
            for sets, if they have no labels, if there is a single answer, or a prior with coverage of all.
        """
        check_promise(coverage, per, unknown)
        option = "unknown" if coverage is None else "coverage"
        if model.calibration is None:
            rule = "needs a model with calibration images, and this one has none"
            raise InputError(option, rule, hint="Run again with calibration.share=.2")
        calibration = _admitted(model, model.calibration)
        made = cls(model, calibration, coverage, per, unknown)
        if coverage is not None:
            made._check_sets(coverage)
        if unknown is not None:
            check_enough("unknown", 1 - unknown, len(calibration))
            if not len(calibration.reference):
                rule = "needs training images of the targets that are admitted, and the model has none"
                raise InputError("unknown", rule)
        return made

    def answer(self, rows: Rows) -> Answered:
        """Answer for new images, with sets and calls of "unknown".

        The answers of a transductive model depend on all images: calibration images are then answered
        together with the new ones, which keeps them exchangeable.

        Parameters
        ----------
        rows : (m, d) embeddings.

        Raises
        ------
        InputError
            As `SavedModel.predict_embeddings`.
        """
        coverage, unknown = self.coverage, self._unknown(rows)
        if coverage is None:
            return Answered(self.model.predict_embeddings(rows), None, unknown)
        if self.model.transductive:
            self.model.head.check_batch(len(rows))
            both = self.model.predict_embeddings(np.concatenate([self.calibration.rows, rows]))
            together, predictions = both.parted(len(self.calibration))
            known = self._unfit(together)
        else:
            known, predictions = self._known, self.model.predict_embeddings(rows)
        sets = prediction_sets(known, self._truth, self._unfit(predictions), coverage, self.per)
        return Answered(predictions, sets, unknown)

    def test_shift(self, rows: Rows) -> ShiftTest:
        """Test whether new images are like the calibration images, at their frequencies under a prior.

        Parameters
        ----------
        rows : (m, d) embeddings, m >= 1.
        """
        return shift_test(self._at_prior(), rows)

    def stated(self, shift: ShiftTest | None) -> str:
        """The column ``guarantee``: the coverage, that it was not tested, or that it is withdrawn.

        Parameters
        ----------
        shift : test of the images; None where there was none. One that finds no shift does not count.
        """
        if shift is not None and shift.withdrawn:
            return "withdrawn"
        stated = f"{self.coverage:g}" + (" per target" if self.per == "target" else "")
        tested = shift is not None and shift.detectable is not None
        return stated if tested else f"{stated}, untested for shift"

    @cached_property
    def _known(self) -> DoubleArray:
        """Nonconformity of the calibration images, answered by themselves."""
        return self._unfit(self.model.predict_embeddings(self.calibration.rows))

    @cached_property
    def _novelty(self) -> DoubleArray:
        return novelty(self.calibration.rows, self.calibration.reference)

    @cached_property
    def _truth(self) -> IntArray:
        return self.model.head.answers_of(self.calibration.targets)

    def _unfit(self, predictions: Predictions) -> DoubleArray:
        return nonconformity(predictions.scores, calibrated=self.model.calibrated)

    def _unknown(self, rows: Rows) -> BoolArray | None:
        if self.unknown is None:
            return None
        p = p_values(self._novelty, novelty(rows, self.calibration.reference)[:, None])[:, 0]
        called: BoolArray = p <= self.unknown
        return called

    def _check_sets(self, coverage: float) -> None:
        names = self.model.names
        if not self.calibration.labelled:
            rule = "needs calibration images with labels, and this model was made without"
            raise InputError("coverage", rule, hint="--unknown needs none")
        if len(names) < 2:
            raise InputError("coverage", "needs two or more possible answers, and there is one", names[0])
        if self.model.head.constraint.prior is not None and self.per == "all":
            rule = (
                "can't be promised over all images under a prior, whose frequencies are others than those of"
            )
            hint = "--coverage-per target promises it at any frequencies"
            raise InputError("coverage", f"{rule} the calibration images", hint=hint)
        if self.per == "all":
            check_enough("coverage", coverage, len(self.calibration))
            return
        for answer, name in enumerate(names):
            check_enough("coverage", coverage, int((self._truth == answer).sum()), name)

    def _at_prior(self) -> FloatArray:
        """Calibration rows at the frequencies of the prior, as many as there can be."""
        prior, calibration = self.model.head.constraint.prior, self.calibration
        if prior is None or not calibration.labelled:
            return calibration.rows
        names, rng = self.model.head.target_names, np.random.default_rng(0)
        own = {name: np.flatnonzero(calibration.targets == names.index(name)) for name in prior}
        whole = min(len(own[name]) / share for name, share in prior.items())
        if not whole:
            return calibration.rows
        kept = [rng.permutation(own[name])[: round(whole * share)] for name, share in prior.items()]
        return np.asarray(calibration.rows[np.concatenate(kept)])


def _admitted(model: SavedModel, calibration: CalibrationRows) -> CalibrationRows:
    """Rows of the targets that the constraint admits; calibration rows of unknown target stay."""
    wanted = model.head.constraint.targets
    if wanted is None:
        return calibration
    index = [model.head.target_names.index(name) for name in wanted]
    known = calibration.targets
    kept = np.isin(known, index) if calibration.labelled else np.ones(len(known), dtype=bool)
    near = np.isin(calibration.reference_targets, index)
    return CalibrationRows(
        calibration.rows[kept],
        known[kept],
        calibration.reference[near],
        calibration.reference_targets[near],
    )
