"""Answers of a model for many images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.support.errors import InputError

_ROWS_A_BLOCK = 1_000  # of all images of a transductive model, that their sorted probabilities fit in memory


@dataclass(frozen=True)
class Predictions:
    """Answers for m images; an answer is a target, or a group of targets that were merged.

    Parameters
    ----------
    names : G answers that are possible.
    answers : (m,) predicted answer, in [0, G).
    runners_up : (m,) second answer, in [0, G); -1 where only one is possible.
    clusters : (m,) nearest cluster of the predicted answer.
    distances : (m,) distance to that cluster's centroid.
    margins : (m,) distance to the nearest cluster of another answer minus `distances`; negative where a
        prior or a merger overruled the distance, inf where only one answer is possible.
    probabilities : (m, G) in [0, 1], rows sum to 1; None for an uncalibrated model.
    scores : (m, G) log-probability up to a constant of the row; of an uncalibrated model the best score of
        each answer.
    """

    names: tuple[str, ...]
    answers: IntArray
    runners_up: IntArray
    clusters: IntArray
    distances: DoubleArray
    margins: DoubleArray
    probabilities: DoubleArray | None
    scores: DoubleArray

    def parted(self, count: int) -> "tuple[Predictions, Predictions]":
        """Part the images into the first `count` and the others.

        Parameters
        ----------
        count : images of the first part.
        """
        return self._images(slice(None, count)), self._images(slice(count, None))

    def _images(self, some: slice) -> "Predictions":
        return Predictions(
            self.names,
            self.answers[some],
            self.runners_up[some],
            self.clusters[some],
            self.distances[some],
            self.margins[some],
            None if self.probabilities is None else self.probabilities[some],
            self.scores[some],
        )

    @property
    def targets(self) -> NDArray[np.object_]:
        """(m,) name of the predicted answer."""
        return np.array(self.names, dtype=object)[self.answers]

    @property
    def confidences(self) -> DoubleArray | None:
        """(m,) probability of the predicted answer."""
        if self.probabilities is None:
            return None
        confidences: DoubleArray = np.take_along_axis(self.probabilities, self.answers[:, None], axis=1)[:, 0]
        return confidences

    def records(
        self, threshold: float = 0.0, *, top_k: int = 1, each: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Give each image's row of a table, numbers in single precision.

        The keys are ``target``, ``probability`` (None if uncalibrated), ``margin``, ``runner_up`` (None if
        there is none), ``cluster``, ``abstained``: whether the probability is below `threshold`; and those
        of `further_columns`.

        Parameters
        ----------
        threshold : least probability of an answer that is no abstention, in [0, 1].
        top_k : number of answers to give with their probabilities, in [1, G].
        each : whether to give the probability of each answer.

        Raises
        ------
        InputError
            If `top_k` is above G, or it or `each` asks an uncalibrated model for probabilities.
        """
        check_further(self.names, top_k=top_k, each=each, calibrated=self.probabilities is not None)
        further = further_columns(self.names, top_k=top_k, each=each)
        for start in range(0, len(self.answers), _ROWS_A_BLOCK):
            some = self._images(slice(start, start + _ROWS_A_BLOCK))
            for record, values in zip(some._answers(threshold), some._further(top_k, each=each), strict=True):
                yield record | dict(zip(further, values, strict=True))

    def _answers(self, threshold: float) -> Iterator[dict[str, Any]]:
        """Give each image's row without the columns of `further_columns`."""
        confidences = self.confidences
        chosen = [None] * len(self.answers) if confidences is None else _singles(confidences)
        found = (self.answers.tolist(), chosen, _singles(self.margins))
        others = self.runners_up.tolist(), self.clusters.tolist()
        for answer, confidence, margin, second, cluster in zip(*found, *others, strict=True):
            yield {
                "target": self.names[answer],
                "probability": confidence,
                "margin": margin,
                "runner_up": self.names[second] if second >= 0 else None,
                "cluster": cluster,
                "abstained": confidence is not None and confidence < threshold,
            }

    def _further(self, top_k: int, *, each: bool) -> Iterator[list[Any]]:
        """Give each image's values of `further_columns`."""
        if self.probabilities is None or (top_k == 1 and not each):
            yield from ([] for _ in self.answers)
            return
        rows, keys = np.arange(len(self.answers)), self.probabilities.copy()
        # Probabilities that are rounded to the same, as to 0, keep the order of the scores for the first two.
        keys[rows, self.runners_up] = 2
        keys[rows, self.answers] = 3
        best = np.argsort(-keys, axis=1, kind="stable")[:, 1:top_k]
        known = np.take_along_axis(self.probabilities, best, axis=1)
        every = self.probabilities if each else self.probabilities[:, :0]
        for places, values, rest in zip(
            best.tolist(), map(_singles, known), map(_singles, every), strict=True
        ):
            ranks = zip((self.names[place] for place in places), values, strict=True)
            yield [*chain.from_iterable(ranks), *rest]


def further_columns(names: Sequence[str], *, top_k: int, each: bool) -> list[str]:
    """Name the columns that a table has on request.

    Parameters
    ----------
    names : G answers that are possible.
    top_k : number of answers with their probabilities: from the second on ``target_2``, ``probability_2`` ...
    each : whether there is a column ``p:<name>`` for each answer's probability.
    """
    ranks = [f"{column}_{rank}" for rank in range(2, top_k + 1) for column in ("target", "probability")]
    return [*ranks, *(f"p:{name}" for name in names if each)]


def check_further(names: Sequence[str], *, top_k: int, each: bool, calibrated: bool) -> None:
    """Check that a model can give the columns of `further_columns`.

    Parameters
    ----------
    names, top_k, each : as in `further_columns`.
    calibrated : whether the model gives probabilities.

    Raises
    ------
    InputError
        If not.
    """
    if not 1 <= top_k <= len(names):
        raise InputError("top-k", f"must be between 1 and {len(names)}, the number of answers", top_k)
    if not calibrated and (top_k > 1 or each):
        rule = "needs a calibrated model, and this one was made without labels: it gives no probabilities"
        hint = "Use runner_up, the second answer, and margin, the difference of the distances"
        raise InputError("probabilities" if each else "top-k", rule, hint=hint)


def _singles(values: DoubleArray) -> list[float]:
    """The shortest numbers that are the same in single precision."""
    return [float(str(value)) for value in values.astype(np.float32)]
