"""The part of a model that follows the backbone: embeddings -> targets, probabilities, margins."""

import logging
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import ConstrainedCentroid
from fused_clip.method.fusion import l2_normalized
from fused_clip.method.prompt import Prompts
from fused_clip.model.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    nearest_of_each,
    out_of_fold_distances,
)
from fused_clip.model.constraint import NOTHING_KNOWN, Constraint, Scope, resolve
from fused_clip.model.predictions import Predictions
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """A fitted classifier of embeddings, with names for its targets and a temperature for its distances.

    Parameters
    ----------
    target_names : K names.
    prompts : p prompts, each one or several texts; empty without text.
    classifier : fitted; its targets are positions in `target_names`.
    normalize_inputs : whether image rows are L2-normalised first. (The text rows are already.)
    temperature : of ``softmax(-distances / temperature)``; None for an uncalibrated model.
    constraint : what is known at prediction.

    Raises
    ------
    InputError
        If the constraint does not fit the model.
    """

    target_names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    classifier: ConstrainedCentroid
    normalize_inputs: bool
    temperature: float | None
    constraint: Constraint = NOTHING_KNOWN
    _scope: Scope = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        carried = np.zeros(len(self.target_names), dtype=bool)
        carried[self.classifier.cluster_targets_] = True
        calibrated = self.temperature is not None
        scope = resolve(self.constraint, self.target_names, carried, calibrated=calibrated)
        object.__setattr__(self, "_scope", scope)

    @classmethod
    def of(
        cls, model: PromptFusedClassifier, prompts: Prompts, images: Rows, targets: IntArray | None, seed: int
    ) -> Self | None:
        """Take the head of a fitted model, and calibrate it.

        Parameters
        ----------
        model : fitted on positions in ``prompts.target_names`` as targets.
        images : (n, d) its training rows.
        targets : (n,) their targets; None leaves the head uncalibrated.
        seed : draws the folds of the calibration.

        Returns
        -------
        None for a classifier that gives no distances, which is logged.
        """
        if type(model.classifier_) is not ConstrainedCentroid:
            kind = type(model.classifier_).__qualname__
            log.warning("No model is saved and nothing calibrated: %s is a classifier of your own.", kind)
            return None
        temperature = None
        if targets is not None:
            temperature = fit_temperature(out_of_fold_distances(model, images, seed), targets)
        return cls(
            prompts.target_names, prompts.texts, model.classifier_, model.normalize_inputs, temperature
        )

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self.classifier.centers_.shape[1])

    @property
    def names(self) -> tuple[str, ...]:
        """Answers that are possible: columns of the probabilities."""
        return self._scope.names

    def predict(self, X: ArrayLike) -> Predictions:
        """Predict from embeddings.

        Parameters
        ----------
        X : (m, d) image embeddings as the backbone gives them.

        Raises
        ------
        InputError
            On another shape, or values that are not finite.
        """
        rows = self._checked(X)
        distances = self.classifier.distances(l2_normalized(rows) if self.normalize_inputs else rows)
        owners = self._scope.answer_of_target[self.classifier.cluster_targets_]
        scores = self._scores(distances)
        ranked = np.argsort(-scores, axis=1, kind="stable")
        answers = ranked[:, 0]
        own = np.where(owners == answers[:, None], distances, np.inf)
        clusters = own.argmin(axis=1)
        nearest = own[np.arange(len(rows)), clusters]
        others = np.where((owners != answers[:, None]) & (owners >= 0), distances, np.inf).min(axis=1)
        several = len(self.names) > 1
        return Predictions(
            self.names,
            answers,
            ranked[:, 1] if several else np.full(len(rows), -1),
            clusters,
            nearest,
            others - nearest,
            None if self.temperature is None else _softmax(scores),
        )

    def scores(self, X: Rows, targets: IntArray) -> dict[str, float]:
        """Score the probabilities of new rows: ``test/ece`` and ``test/brier``; none if uncalibrated.

        Parameters
        ----------
        X : (m, d) image embeddings.
        targets : (m,) true target; one that can't be predicted has probability 0.
        """
        found = self.predict(X).probabilities if len(X) else None
        if found is None:
            return {}
        probabilities = np.zeros((len(X), len(self.target_names)))
        probabilities[:, self._scope.answer_of_target >= 0] = found
        return {
            "test/ece": expected_calibration_error(probabilities, targets),
            "test/brier": brier_score(probabilities, targets),
        }

    def _checked(self, X: ArrayLike) -> Rows:
        rows = np.asarray(X)
        if rows.ndim != 2 or rows.shape[1] != self.dim or rows.dtype.kind != "f":
            rule = f"must be floats of shape (m, {self.dim})"
            raise InputError("embeddings", rule, f"{rows.shape} of {rows.dtype}")
        if not np.isfinite(rows).all():
            raise InputError("embeddings", "must be finite")
        return rows

    def _scores(self, distances: DoubleArray) -> DoubleArray:
        """(m, G) log-probability of each answer up to a constant; uncalibrated: minus its least distance."""
        count = len(self.target_names)
        nearest = nearest_of_each(distances, self.classifier.cluster_targets_, count)
        targets = -nearest / (self.temperature or 1) + self._scope.log_shift
        merge = np.maximum if self.temperature is None else np.logaddexp
        scores = np.full((len(distances), len(self.names)), -np.inf)
        for target, answer in enumerate(self._scope.answer_of_target):
            if answer >= 0:
                scores[:, answer] = merge(scores[:, answer], targets[:, target])
        return scores


def _softmax(scores: DoubleArray) -> DoubleArray:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: DoubleArray = odds / odds.sum(axis=1, keepdims=True)
    return probabilities
