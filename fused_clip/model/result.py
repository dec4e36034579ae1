"""What a run found: arrays, names and numbers, without a path, a logger or a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fused_clip.metrics.curve import Curve
from fused_clip.support.arrays import Array, FloatArray, IntArray

if TYPE_CHECKING:
    from fused_clip.model.calibration_rows import CalibrationRows
    from fused_clip.model.head import Head


@dataclass(frozen=True)
class SplitResult:
    """One split as the method saw it.

    Parameters
    ----------
    ids : n stable row names.
    rows : (n,) rows of the parent split in the embedding store.
    prompts : (n,) prompt that each row is fused with; -1 without text.
    fused : (n, d) fused rows: as paired in training, or with the prompt that won on test.
    targets : (n,) true target index, in [0, K); all -1 where no label is known.
    clusters : (n,) cluster of each row; -1 is noise.
    predicted : (n,) predicted target index, in [0, K); -1 where nothing could be predicted.
    distances : (n,) Euclidean distance to the winning cluster's centroid.
    margins : (n,) distance to the nearest cluster of another target minus `distances`; >= 0 on test;
        inf where there is no other target.
    """

    ids: tuple[str, ...]
    rows: IntArray
    prompts: IntArray
    fused: FloatArray
    targets: IntArray
    clusters: IntArray
    predicted: IntArray
    distances: FloatArray
    margins: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """Whether the true targets are known."""
        return bool((self.targets >= 0).all())


@dataclass(frozen=True)
class Result:
    """All that a run of the pipeline found; figures, files and tracking are made from it alone.

    Parameters
    ----------
    dataset, prompt, backbone : names of the parts, for titles.
    target_names : K names, in target order.
    texts : the distinct prompts (first text of an ensemble), in prompt order; empty without text.
    train, test : both splits.
    text_embeddings : (p, d) text rows as they were fused, before any normalisation; (0, 0) without text.
    cluster_targets : (k,) majority target of each cluster.
    cluster_centers : (k, w) mean of the fused rows of each cluster.
    missing_targets : names of the targets that no cluster carries.
    metrics : flat name to number, named as in docs/metrics.md.
    tags : facts about the run that are not numbers (data source and fingerprint, pairing, ...).
    uses_labels : whether any part of the method saw training labels.
    backbone_saw_labels : whether the backbone was trained on labels of any of these classes; the tag
        ``classes_seen`` counts and names them.
    reference_predictions : (m,) target index that each reference predicts for the test rows, by its
        name; -1 for none.
    curves : what parts computed on the way to a choice, to be drawn.
    head : the classifier for images that are not here; None where a part of the user's own gives none.
    calibration : images held out of all of this, for guarantees; None for none.
    """

    dataset: str
    prompt: str
    backbone: str
    target_names: tuple[str, ...]
    texts: tuple[str, ...]
    text_embeddings: Array
    train: SplitResult
    test: SplitResult
    cluster_targets: IntArray
    cluster_centers: FloatArray
    missing_targets: tuple[str, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    uses_labels: bool
    backbone_saw_labels: bool
    reference_predictions: Mapping[str, IntArray] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    head: Head | None = None
    calibration: CalibrationRows | None = None
