"""Published leaks of test labels, to measure what they are worth; never on unless asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.dataset.image_dataset import ImageDataset
    from fused_clip.method.classifier import Classifier, TargetScores
    from fused_clip.support.arrays import IntArray, Rows

Leak = Literal[
    "best_test_epoch",
    "settings_on_test",
    "prompts_on_test",
    "clusters_on_test",
    "targets_of_test",
    "copies_counted",
]
COPIES = 10  # augmented copies of each image, as Tip-Adapter and GDA make them


class LeakyParts(Protocol):
    """The parts of a method that a leak may touch."""

    @property
    def leak(self) -> Leak | None:
        """The leak that is on."""

    @property
    def classifier(self) -> Classifier:
        """Classifier of the method."""

    @property
    def text_uses_labels(self) -> bool:
        """Whether the text part is given labels."""


def check_leak(method: LeakyParts, dataset: ImageDataset) -> None:
    """Refuse a leak that the parts do not have.

    Parameters
    ----------
    method : parts of the method.
    dataset : its test labels.

    Raises
    ------
    InputError
        If the leak would change nothing, or there are no test labels.
    """
    leak, classifier = method.leak, method.classifier
    if leak is None:
        return
    if not dataset.labelled:
        raise InputError("leak", "needs test labels, and there are none", leak)
    missing = {
        "best_test_epoch": "epochs" not in classifier.chooses and "a classifier with epochs to choose from",
        "settings_on_test": "settings" not in classifier.chooses and "a classifier that chooses settings",
        "prompts_on_test": not method.text_uses_labels and "a text part that uses labels, such as text=best",
        "clusters_on_test": not classifier.uses_clusters and "a classifier of clusters",
        "copies_counted": "copies" not in classifier.get_params() and "a classifier that counts copies",
    }.get(leak)
    if missing:
        raise InputError("leak", f"needs {missing}", leak)


def leaky_dataset(leak: Leak | None, dataset: ImageDataset) -> ImageDataset:
    """Put the test images in place of the training images under ``clusters_on_test``.

    Parameters
    ----------
    leak : the leak that is on.
    dataset : images of two splits.
    """
    return replace(dataset, train=dataset.test) if leak == "clusters_on_test" else dataset


def leaked_rows(leak: Leak, test: Rows, targets: IntArray) -> dict[str, tuple[Rows, IntArray]]:
    """Test rows and targets on which a classifier is let choose; see `Training.leaked`.

    Parameters
    ----------
    leak : the leak that is on.
    test : (m, d) test images.
    targets : (m,) their targets.
    """
    what = {"best_test_epoch": "epochs", "settings_on_test": "settings"}.get(leak)
    return {} if what is None else {what: (test, targets)}


def leaky_classifier(method: LeakyParts) -> Classifier:
    """Let the classifier count each labelled row ten times under ``copies_counted``.

    Parameters
    ----------
    method : parts of the method.
    """
    if method.leak != "copies_counted":
        return method.classifier
    from sklearn.base import clone

    counted: Classifier = clone(method.classifier).set_params(copies=COPIES)
    return counted


def leaky_scores(leak: Leak | None, scores: TargetScores, targets: IntArray) -> TargetScores:
    """Rule out the targets that no test image has, under ``targets_of_test``.

    Parameters
    ----------
    leak : the leak that is on.
    scores : of m test rows for every target.
    targets : (m,) their targets.
    """
    if leak != "targets_of_test":
        return scores
    absent = np.setdiff1d(np.arange(scores.values.shape[1]), targets)
    values = scores.values.copy()
    values[:, absent] = -np.inf
    return replace(scores, values=values)
