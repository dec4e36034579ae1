"""The part of a model that follows the backbone: embeddings -> targets, probabilities, margins."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, TargetScores
from fused_clip.method.fusion import Fusion
from fused_clip.method.prompt import Prompts
from fused_clip.metrics.calibration import brier_score, expected_calibration_error, softmax
from fused_clip.metrics.scores import rounded
from fused_clip.model.constraint import NOTHING_KNOWN, Constraint, Scope, resolve
from fused_clip.model.predictions import Predictions
from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError


@dataclass(frozen=True)
class Head:
    """A fitted classifier of embeddings, with names for its targets and a temperature for its scores.

    Parameters
    ----------
    target_names : K names.
    prompts : p prompts, each one or several texts; empty without text.
    dim : width of the embeddings.
    fusion : as the training rows were fused.
    classifier : fitted; its targets are positions in `target_names`.
    temperature : of ``softmax(scores / temperature)``; None for an uncalibrated model.
    constraint : narrows predictions.

    Raises
    ------
    InputError
        If the constraint does not fit the model.
    """

    target_names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    dim: int
    fusion: Fusion
    classifier: Classifier
    temperature: float | None
    constraint: Constraint = NOTHING_KNOWN
    _scope: Scope = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        carried = np.zeros(len(self.target_names), dtype=bool)
        carried[self.classifier.targets_] = True
        calibrated = self.temperature is not None
        scope = resolve(self.constraint, self.target_names, carried, calibrated=calibrated)
        object.__setattr__(self, "_scope", scope)

    @classmethod
    def of(cls, model: PromptFusedClassifier, prompts: Prompts) -> Self:
        """Take the head of a fitted model.

        Parameters
        ----------
        model : fitted on positions in ``prompts.target_names`` as targets.
        prompts : of the run.
        """
        return cls(
            prompts.target_names,
            prompts.texts,
            model.n_features_in_,
            model.fusion_,
            model.classifier_,
            model.temperature_,
        )

    def with_classifier(self, classifier: Classifier) -> Self:
        """Return the head with another fitted classifier of the same targets; all else stays.

        Parameters
        ----------
        classifier : fitted.
        """
        return replace(self, classifier=classifier)

    @property
    def names(self) -> tuple[str, ...]:
        """Answers that are possible: columns of the probabilities."""
        return self._scope.names

    def answers_of(self, targets: IntArray) -> IntArray:
        """Position in `names` of the answer that each target belongs to; -1 for one that is not possible.

        Parameters
        ----------
        targets : (m,) in [0, K).
        """
        return np.asarray(self._scope.answer_of_target[targets])

    def predict(self, X: ArrayLike) -> Predictions:
        """Predict from embeddings.

        Parameters
        ----------
        X : (m, d) image embeddings as the backbone gives them.

        Raises
        ------
        InputError
            On another shape, or values that are not finite; as `check_batch`.
        """
        rows = self._checked(X)
        self.check_batch(len(rows))
        found = self.classifier.target_scores(rows)
        owners = self._scope.answer_of_target
        scores = self._scores(found)
        ranked = np.argsort(-scores, axis=1, kind="stable")
        answers = ranked[:, 0]
        index = np.arange(len(scores))
        targets = self._best_targets(found, answers)
        best = found.values[index, targets]
        others = np.where((owners != answers[:, None]) & (owners >= 0), found.values, -np.inf).max(axis=1)
        nothing = np.full(len(index), -1)
        return Predictions(
            self.names,
            answers,
            ranked[:, 1] if len(self.names) > 1 else nothing,
            nothing if found.clusters is None else found.clusters[index, targets],
            -best,
            best - others,
            None if self.temperature is None else softmax(scores),
            scores,
        )

    def check_target(self, name: str, text: str) -> None:
        """Check the name and the text of a target to be added.

        Parameters
        ----------
        name, text : as in `with_target`.

        Raises
        ------
        InputError
            If one is blank or taken.
        """
        if not name.strip():
            raise InputError("name", "must not be blank", name)
        if name in {*self.target_names, *(self.constraint.groups or {})}:
            raise InputError("name", "must differ from the model's targets and groups", name)
        if not text.strip():
            raise InputError("text", "must not be blank", text)
        if (text,) in self.prompts:
            raise InputError("text", "must differ from the prompts of the model's targets", text)

    def with_target(self, name: str, text: str, row: Rows) -> Self:
        """Return the head with one more target, by a text; a constraint to some targets admits it too.

        Parameters
        ----------
        name : of the new target; not one of the targets or groups.
        text : that describes it.
        row : (1, d) embedding of the text.

        Raises
        ------
        InputError
            As `check_target` and `Classifier.with_target`; if a prior is set, which lacks the new target.
        """
        self.check_target(name, text)
        targets = self.constraint.targets
        admitted = None if targets is None else (*targets, name)
        return replace(
            self,
            target_names=(*self.target_names, name),
            prompts=(*self.prompts, (text,)),
            classifier=self.classifier.with_target(row),
            constraint=replace(self.constraint, targets=admitted),
        )

    def targets_of(self, X: ArrayLike, answers: IntArray) -> IntArray:
        """Find the target behind each answer, the best of a group: (m,) positions in `target_names`.

        Parameters
        ----------
        X : (m, d) image embeddings as the backbone gives them. Raises as `predict` does.
        answers : (m,) answer of each row, in [0, G).
        """
        rows = self._checked(X)
        self.check_batch(len(rows))
        return self._best_targets(self.classifier.target_scores(rows), answers)

    def check_batch(self, count: int) -> None:
        """Check that a model whose answers depend on the batch has one.

        Parameters
        ----------
        count : images that are predicted together.

        Raises
        ------
        InputError
            If the classifier is transductive and there is a single image.
        """
        if self.classifier.transductive and count == 1:
            rule = "must be two or more: the answers of this model depend on all images predicted together"
            hint = "Predict images together, or use a run with classifier=constrained_centroid or zero_shot"
            raise InputError("images", rule, count, hint=hint)

    def calibration(self, found: TargetScores, targets: IntArray) -> dict[str, float]:
        """Score the probabilities of new rows: ``test/ece`` and ``test/brier``; none if uncalibrated.

        Parameters
        ----------
        found : scores of m rows for every target.
        targets : (m,) true target; one that can't be predicted has probability 0.
        """
        if self.temperature is None or not len(targets):
            return {}
        probabilities = softmax(found.values / self.temperature)
        return rounded(
            {
                "test/ece": expected_calibration_error(probabilities, targets),
                "test/brier": brier_score(probabilities, targets),
            }
        )

    def _best_targets(self, found: TargetScores, answers: IntArray) -> IntArray:
        own = self._scope.answer_of_target == answers[:, None]
        return np.asarray(np.where(own, found.values, -np.inf).argmax(axis=1))

    def _checked(self, X: ArrayLike) -> Rows:
        rows = np.asarray(X)
        if rows.ndim != 2 or rows.shape[1] != self.dim or rows.dtype.kind != "f":
            rule = f"must be floats of shape (m, {self.dim})"
            raise InputError("embeddings", rule, f"{rows.shape} of {rows.dtype}")
        if not np.isfinite(rows).all():
            raise InputError("embeddings", "must be finite")
        return rows

    def _scores(self, found: TargetScores) -> DoubleArray:
        """(m, G) log-probability of each answer up to a constant; uncalibrated: its best score."""
        targets = found.values / (self.temperature or 1) + self._scope.log_shift
        merge = np.maximum if self.temperature is None else np.logaddexp
        scores = np.full((len(targets), len(self.names)), -np.inf)
        for target, answer in enumerate(self._scope.answer_of_target):
            if answer >= 0:
                scores[:, answer] = merge(scores[:, answer], targets[:, target])
        return scores
