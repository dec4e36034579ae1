"""Why an answer: the nearest training images, what its cluster consists of, and the prompt's share."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fused_clip.runner.training_rows import TrainingRows, run_directory
from fused_clip.support.arrays import IntArray, Rows
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.method.similar import SimilarRows
    from fused_clip.model.predictions import Predictions
    from fused_clip.model.saved import SavedModel
    from fused_clip.predict.attribution import Attribution

OPTION = "explain"
_K = 3
_DECIMALS = 6


@dataclass(frozen=True)
class Neighbor:
    """A training image near a new one.

    Parameters
    ----------
    id : stable name of the training image.
    target : of its given label; None where no label is known.
    similarity : cosine of both image embeddings, in [-1, 1].
    position : of the row among the training rows, in [0, n).
    """

    id: str
    target: str | None
    similarity: float
    position: int


@dataclass(frozen=True)
class Explanation:
    """Evidence for an answer.

    Parameters
    ----------
    neighbors : the 3 training images of highest cosine similarity, the highest first; fewer if the run had
        fewer. They are evidence, and no part of the answer unless the classifier is one of neighbours.
    composition : share of the training rows of the answer's cluster by target, the largest first; the shares
        sum to 1. Empty for an answer without a cluster, and where no label is known.
    prompt : the text that stands for the answer; the first of an ensemble. None without text.
    prompt_share : the prompts' share of the answer's lead, in [-1, 1]; see
        `fused_clip.predict.attribution.Contributions.prompt_share`. None where it is not defined.
    """

    neighbors: tuple[Neighbor, ...]
    composition: Mapping[str, float]
    prompt: str | None
    prompt_share: float | None

    def record(self) -> dict[str, Any]:
        """Return its columns of the table, in types of JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Explainer:
    """Explains the answers of a run's model by the run's training rows, which it keeps in memory.

    Parameters
    ----------
    training : rows of the run.
    model : of the run; it may be constrained.
    """

    training: TrainingRows
    model: "SavedModel"

    @classmethod
    def of(cls, run_dir: str | Path, model: "SavedModel") -> Self:
        """Read the training rows of a run; no image is embedded, and none is read before a thumbnail is.

        Parameters
        ----------
        run_dir : directory of the run, or the folder ``model`` in it.
        model : of that run.

        Raises
        ------
        InputError
            If the directory lacks the run's files or has damaged ones, if the embeddings of the training
            images are gone, or if the model is of another run.
        """
        training = TrainingRows.of(run_directory(run_dir, OPTION), OPTION)
        names = model.head.target_names
        if training.target_names != names or training.images.shape[1] != model.head.dim:
            rule = "needs the model and the training rows of one run, and these differ in targets or width"
            raise InputError(OPTION, rule, str(run_dir))
        return cls(training, model)

    def with_model(self, model: "SavedModel") -> Self:
        """Return an explainer of the same rows with the same model, constrained otherwise.

        Parameters
        ----------
        model : of the run.
        """
        other = replace(self, model=model)
        vars(other)["_similar"] = self._similar  # of the same rows: their index is made once
        return other

    def explain(self, rows: Rows, predictions: "Predictions") -> list[Explanation]:
        """Explain m answers; the training rows are searched in blocks, in memory that does not grow with m.

        Parameters
        ----------
        rows : (m, d) image embeddings.
        predictions : the model's, for these rows.
        """
        if not len(rows):
            return []
        shares = self._prompt_shares(rows, predictions)
        prompts = self._prompts(rows, predictions)
        return [
            Explanation(near, {} if cluster < 0 else self._compositions[cluster], prompt, share)
            for near, cluster, prompt, share in zip(
                self._neighbors(rows), predictions.clusters, prompts, shares, strict=True
            )
        ]

    def thumbnail(self, position: int) -> bytes | None:
        """Picture of a training image as WebP; None where it can't be had, with a reason in the log.

        Parameters
        ----------
        position : of the row, in [0, n).

        Raises
        ------
        IndexError
            If there is no such row.
        """
        return self.training.thumbnail(position)

    def thumbnails(self, positions: Iterable[int]) -> dict[int, bytes]:
        """Pictures of several training images by position; those that can't be had are left out.

        Parameters
        ----------
        positions : of the rows, each in [0, n).
        """
        return self.training.thumbnails(positions)

    @cached_property
    def _similar(self) -> "SimilarRows":
        from fused_clip.method.similar import SimilarRows

        return SimilarRows(self.training.images)

    @cached_property
    def _attribution(self) -> "Attribution | None":
        from fused_clip.predict.attribution import Attribution

        return Attribution.of(self.model.head, self.training.images, self.training.clusters)

    @cached_property
    def _compositions(self) -> list[dict[str, float]]:
        """Shares of the targets in each cluster."""
        clusters, targets = self.training.clusters, self.training.targets
        kept = (clusters >= 0) & (targets >= 0)
        counts = np.zeros((clusters.max(initial=-1) + 1, len(self.training.target_names)), dtype=np.int64)
        np.add.at(counts, (clusters[kept], targets[kept]), 1)
        return [self._shares(row) for row in counts]

    def _shares(self, counts: IntArray) -> dict[str, float]:
        largest_first = np.argsort(-counts, kind="stable")
        names = self.training.target_names
        return {
            names[target]: round(float(counts[target] / counts.sum()), _DECIMALS)
            for target in largest_first
            if counts[target]
        }

    def _neighbors(self, rows: Rows) -> list[tuple[Neighbor, ...]]:
        found, similar = self._similar.nearest(rows, _K)
        return [tuple(map(self._neighbor, *pair)) for pair in zip(found, similar, strict=True)]

    def _neighbor(self, position: int, similarity: float) -> Neighbor:
        target = self.training.targets[position]
        name = self.training.target_names[target] if target >= 0 else None
        rounded = round(float(similarity), _DECIMALS)
        return Neighbor(self.training.ids[position], name, rounded, int(position))

    def _prompt_shares(self, rows: Rows, predictions: "Predictions") -> list[float | None]:
        if self._attribution is None:
            return [None] * len(rows)
        found = self._attribution.contributions(rows, predictions.answers, predictions.runners_up)
        shares = found.prompt_share.tolist()
        return [None if np.isnan(share) else round(share, _DECIMALS) + 0.0 for share in shares]  # no -0

    def _prompts(self, rows: Rows, predictions: "Predictions") -> list[str | None]:
        index = self._prompt_of_target
        targets = self._targets(rows, predictions)
        if index is None or targets is None:
            return [None] * len(rows)
        texts = self.model.head.prompts
        return [texts[index[target]][0] for target in targets]

    def _targets(self, rows: Rows, predictions: "Predictions") -> IntArray | None:
        """(m,) target behind each answer; None for groups whose best member depends on the batch."""
        head = self.model.head
        if not head.constraint.groups:
            position = {name: index for index, name in enumerate(head.target_names)}
            return np.array([position[name] for name in predictions.names])[predictions.answers]
        return None if self.model.transductive else head.targets_of(rows, predictions.answers)

    @cached_property
    def _prompt_of_target(self) -> IntArray | None:
        """(K,) prompt that stands for each target: of the classifier, or else of the run's options."""
        head = self.model.head
        if not head.prompts:
            return None
        if (own := getattr(head.classifier, "prompt_of_target_", None)) is not None:
            return np.asarray(own)
        try:
            return self.training.prompt_of_target
        except (InputError, OSError):  # the data are gone; the log names the reason with the thumbnails
            return None
