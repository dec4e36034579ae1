"""Labels as a budget: few labels of each class, beside all training images."""

from dataclasses import dataclass

import numpy as np

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError


@dataclass(frozen=True)
class LabelBudget:
    """How many training labels of each class may be used; the images of all rows always may.

    Rows on which a part chooses its settings come out of these labels too.

    Parameters
    ----------
    per_class : labels of each class; None for all, 0 for none.
    seed : draws the rows.
    """

    per_class: int | None = None
    seed: int = 0

    def known(self, labels: IntArray) -> IntArray:
        """Hide the labels outside the budget: (n,) labels, -1 where it may not be used.

        Budgets of one seed are nested: the rows of a smaller one are among those of a larger one.

        Parameters
        ----------
        labels : (n,) class of each training row; -1 where it is not known.
        """
        if self.per_class is None:
            return labels
        order = np.random.default_rng(self.seed).permutation(len(labels))
        known = np.full_like(labels, -1)
        for kind in np.unique(labels[labels >= 0]):
            own = order[labels[order] == kind][: self.per_class]
            known[own] = kind
        return known

    def check(self, dataset: ImageDataset) -> None:
        """Refuse a budget that a class can't fill.

        Parameters
        ----------
        dataset : its training labels.

        Raises
        ------
        InputError
            If there are no labels, a class has no training image, or fewer than asked for.
        """
        if not self.per_class:
            return
        if not dataset.has_labels:
            raise InputError("labels.per_class", "must be null or 0 without labels", self.per_class)
        known = dataset.train.labels[dataset.train.labels >= 0]
        counts = np.bincount(known, minlength=len(dataset.class_names))
        least = int(counts.argmin())
        if counts[least] < self.per_class:
            rule = "must be at most the labelled training images of each class;"
            rule = f"{rule} {dataset.class_names[least]!r} has"
            raise InputError("labels.per_class", f"{rule} {counts[least]}", self.per_class)
