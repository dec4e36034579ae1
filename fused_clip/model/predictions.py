"""What a model answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fused_clip.support.arrays import DoubleArray, IntArray


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
    """

    names: tuple[str, ...]
    answers: IntArray
    runners_up: IntArray
    clusters: IntArray
    distances: DoubleArray
    margins: DoubleArray
    probabilities: DoubleArray | None

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

    def records(self, threshold: float = 0.0) -> Iterator[dict[str, Any]]:
        """Give each image's row of a table, numbers in single precision.

        The columns are ``target``, ``probability`` (None if uncalibrated), ``margin``, ``runner_up`` (None if
        there is none), ``cluster``, and ``abstained``: whether the probability is below `threshold`.
        """
        confidences = self.confidences
        for row, (answer, second) in enumerate(zip(self.answers, self.runners_up, strict=True)):
            confidence = None if confidences is None else _single(confidences[row])
            yield {
                "target": self.names[answer],
                "probability": confidence,
                "margin": _single(self.margins[row]),
                "runner_up": self.names[second] if second >= 0 else None,
                "cluster": int(self.clusters[row]),
                "abstained": confidence is not None and confidence < threshold,
            }


def _single(value: np.float64) -> float:
    """The shortest number that is the same in single precision."""
    return float(str(np.float32(value)))
