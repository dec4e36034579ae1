"""Labels of a run compared with the evidence, most likely wrong first."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from fused_clip.method.similar import SimilarRows
from fused_clip.review.evidence_sources import sources
from fused_clip.review.label_pool import LabelPool
from fused_clip.runner.training_rows import TrainingRows
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)

OPTION = "run"
_NEIGHBORS = 3
_DECIMALS = 6


@dataclass(frozen=True)
class Suspect:
    """A training image and its label.

    Parameters
    ----------
    position : of the row, in the order of the run's ``predictions.parquet``.
    id : stable name of the image.
    label : given target.
    suggested : target that the evidence speaks for; equal to the label where both agree.
    wrong : probability that the label is wrong.
    label_probability, suggested_probability : what the evidence gives both targets, without a look at labels.
    answers : target that each source speaks for by itself.
    """

    position: int
    id: str
    label: str
    suggested: str
    wrong: float
    label_probability: float
    suggested_probability: float
    answers: Mapping[str, str]

    @property
    def disagrees(self) -> bool:
        """Whether the evidence speaks for another target than the label."""
        return self.label != self.suggested

    def record(self) -> dict[str, Any]:
        """Row of the table: a column for each source, named as in `fused_clip.review.evidence_sources`."""
        own = {name: value for name, value in vars(self).items() if name != "answers"}
        return {**own, **self.answers}


@dataclass(frozen=True, eq=False)
class LabelReview:
    """Evidence about all labels of a run.

    Parameters
    ----------
    training : rows of the run.
    evidence : (n, K) log-probabilities of each source.
    pool : of the sources.
    """

    training: TrainingRows
    evidence: Mapping[str, DoubleArray]
    pool: LabelPool

    @classmethod
    def of(cls, training: TrainingRows, seed: int = 0) -> Self:
        """Collect the evidence.

        Parameters
        ----------
        training : rows of the run.
        seed : draws the folds.

        Raises
        ------
        InputError
            If the labels are not known, or all are the same.
        """
        place = str(training.directory)
        if not training.labelled:
            rule = "needs labels: it compares them with evidence, and the run's training images have none"
            raise InputError(OPTION, rule, place, hint="Run with dataset.labels=given")
        if len(np.unique(training.targets)) < 2:
            rule = "needs labels of two targets: one can't be mistaken for another"
            raise InputError(OPTION, rule, place)
        own = (training.images, training.targets, training.clusters, len(training.target_names))
        evidence = sources(*own, prompts=_prompts(training), seed=seed)
        return cls(training, evidence, LabelPool.fit(list(evidence.values()), training.targets, seed))

    @cached_property
    def order(self) -> IntArray:
        """(n,) positions, the most likely wrong first; of equals that of the least probable label."""
        own = self.pool.log_probabilities[np.arange(len(self.training)), self.training.targets]
        return np.lexsort((own, -self.pool.wrong))

    @cached_property
    def suggested(self) -> IntArray:
        """(n,) target that the evidence speaks for; the label where it is among the best."""
        best = self.pool.log_probabilities
        own = best[np.arange(len(best)), self.training.targets]
        return np.where(own >= best.max(axis=1), self.training.targets, best.argmax(axis=1))

    @property
    def influence(self) -> dict[str, float]:
        """Share of each source in the pool, by weight and by how far it sets targets apart; they sum to 1."""
        spread = [float(scores.std(axis=1).mean()) for scores in self.evidence.values()]
        shares = self.pool.weights * spread
        total = shares.sum() or 1.0
        return dict(zip(self.evidence, (shares / total).tolist(), strict=True))

    def suspects(self, positions: Sequence[int] | IntArray) -> list[Suspect]:
        """Describe rows.

        Parameters
        ----------
        positions : of the rows, each in [0, n).
        """
        training, names = self.training, np.array(self.training.target_names, dtype=object)
        given = np.exp(self.pool.log_probabilities)
        answers = {name: names[scores.argmax(axis=1)] for name, scores in self.evidence.items()}
        return [
            Suspect(
                int(row),
                training.ids[row],
                str(names[training.targets[row]]),
                str(names[self.suggested[row]]),
                _rounded(self.pool.wrong[row]),
                _rounded(given[row, training.targets[row]]),
                _rounded(given[row, self.suggested[row]]),
                {name: str(found[row]) for name, found in answers.items()},
            )
            for row in positions
        ]

    def neighbors(self, positions: Sequence[int] | IntArray) -> list[list[int]]:
        """Find the 3 most similar other images of each row.

        Parameters
        ----------
        positions : of the rows, each in [0, n).
        """
        rows = np.asarray(positions, dtype=np.int64)
        found, _ = SimilarRows(self.training.images).nearest(self.training.images[rows], _NEIGHBORS + 1)
        return [
            [int(one) for one in near if one != own][:_NEIGHBORS]
            for own, near in zip(rows, found, strict=True)
        ]


def _prompts(training: TrainingRows) -> FloatArray | None:
    """(K, d) text row of each target; None without prompts that set targets apart and use no label."""
    texts = training.texts
    if not len(texts) or texts.shape[1] != training.images.shape[1]:
        return None
    if training.text_uses_labels:
        log.info("The prompts are no evidence: their rows were learnt from the labels.")
        return None
    try:
        index = training.prompt_of_target
    except (InputError, OSError) as error:
        if len(texts) != len(training.target_names):
            log.warning("The prompts are no evidence: which is of which target is not known (%s)", error)
            return None
        index = np.arange(len(texts))  # a prompt of another target gets no weight in the pool
    return None if index is None or len(np.unique(index)) < 2 else texts[index]


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)
