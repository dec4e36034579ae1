"""What each metric is called and how it is explained, wherever tables show it.

The references have their own facts: `fused_clip.method.reference.known_references`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricFacts:
    """How a metric is shown.

    Parameters
    ----------
    name : of the metric, as in ``metrics.json``.
    title : heading of a column.
    explanation : one line.
    column : whether tables of several runs have a column for it.
    digits : decimals.
    """

    name: str
    title: str
    explanation: str
    column: bool = False
    digits: int = 4


_FACTS = (
    MetricFacts("test/accuracy", "accuracy", "the method, on test images", column=True),
    MetricFacts("test/balanced_accuracy", "balanced acc.", "mean recall of the targets"),
    MetricFacts("test/macro_f1", "macro F1", "mean F1 of the targets", column=True),
    MetricFacts(
        "words_in_fusion", "words in fusion", "accuracy of the method minus rotated text", column=True
    ),
    MetricFacts(
        "text_in_all",
        "text in all",
        "accuracy of the method minus the best reference without text that uses labels as the run does",
        column=True,
    ),
    MetricFacts("labels_used", "labels", "training labels that the method used", digits=0),
    MetricFacts("missing_targets", "missing", "targets that no cluster has", column=True, digits=0),
    MetricFacts("test/ece", "ECE", "expected calibration error of the probabilities"),
    MetricFacts("test/brier", "Brier", "Brier score of the probabilities"),
    MetricFacts("train/silhouette", "silhouette", "silhouette of the fused rows' clusters", column=True),
    MetricFacts("train/ari", "ARI", "adjusted Rand index of clusters and targets", column=True),
    MetricFacts("train/ami", "AMI", "adjusted mutual information of clusters and targets", column=True),
    MetricFacts("train/nmi", "NMI", "normalized mutual information of clusters and targets"),
    MetricFacts("train/purity", "purity", "share of rows with their cluster's majority target", column=True),
    MetricFacts("train/prompt_purity", "prompt purity", "share of rows with their cluster's majority prompt"),
    MetricFacts(
        "train/prompt_spacing",
        "prompt spacing",
        "least distance between two fused prompts / median distance to the 10th neighbour of the same prompt",
    ),
    MetricFacts(
        "train/hungarian_accuracy", "Hungarian acc.", "best one-to-one matching of clusters to targets"
    ),
    MetricFacts("seconds/total", "seconds", "duration of the run", column=True, digits=1),
)

CONTRIBUTIONS = ("words_in_fusion", "text_in_all")  # of text to the accuracy; next to it in every table
METRICS: Mapping[str, MetricFacts] = {facts.name: facts for facts in _FACTS}
