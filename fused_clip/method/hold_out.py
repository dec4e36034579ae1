"""Calibration images: training images held out of the whole method, so that new images are like them."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from fused_clip.backbone.supervision import set_of
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.method.budget import LabelBudget
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError

MOST_HELD_OUT = 0.9
_OPTION = "calibration.share"


def hold_out(
    dataset: ImageDataset, labels: LabelBudget, share: float, seed: int
) -> tuple[ImageDataset, LabelBudget]:
    """Move training images into the split ``calibration``, and give the labels that are left.

    They are a random sample of the images, so that they follow the frequencies of the training split. With a
    budget of labels they come out of it, as many of each class. Where no label may be used they have none.

    Parameters
    ----------
    dataset : without calibration images.
    labels : which training labels may be used.
    share : of the images whose labels may be used, in [0, `MOST_HELD_OUT`]; 0 changes nothing.
    seed : draws them.

    Raises
    ------
    InputError
        If no image would be held out, or none left, or no label of a class.
    """
    if not share:
        return dataset, labels
    labels.check(dataset)
    rng = np.random.default_rng(seed)
    train, budget = dataset.train, labels
    if labels.per_class:
        held = round(share * labels.per_class)
        if not 0 < held < labels.per_class:
            rule = f"must hold out some of {labels.per_class} labels a class, and leave some; it holds out"
            raise InputError(_OPTION, f"{rule} {held}", share, hint="Use more labels.per_class")
        chosen = _some_of_each(train.labels, held, rng)
        budget = replace(labels, per_class=labels.per_class - held)
    else:
        free = np.flatnonzero(train.labels >= 0) if dataset.has_labels else np.arange(len(train))
        chosen = rng.permutation(free)[: round(share * len(free))]
    if not 0 < len(chosen) < len(train):
        rule = f"must hold out some of {len(train)} training images, and leave some; it holds out"
        raise InputError(_OPTION, f"{rule} {len(chosen)}", share)
    kept = np.ones(len(train), dtype=bool)
    kept[chosen] = False
    calibration = _rows(train, np.sort(chosen))
    if labels.per_class == 0:
        calibration = replace(calibration, labels=np.full(len(chosen), -1))
    return replace(dataset, train=_rows(train, np.flatnonzero(kept)), calibration=calibration), budget


def refuse_seen(split: Split, trained_on: Collection[str]) -> None:
    """Refuse calibration images of a set that the backbone was trained on, but for its test split.

    A backbone embeds images that it was trained on unlike new ones, so they promise nothing about new ones.

    Parameters
    ----------
    split : calibration images.
    trained_on : of the backbone.

    Raises
    ------
    InputError
        If the backbone may have been trained on any of them.
    """
    trained = sorted(one for one in trained_on if set_of(one) == set_of(split.origin))
    if trained and (not split.origin.endswith("/test") or split.origin in trained):
        rule = f"needs images that the backbone was not trained on, and it was trained on {trained[0]}"
        hint = "dataset.from_split=test takes images that it never saw; or use backbone=open"
        raise InputError(_OPTION, rule, hint=hint)


def _some_of_each(labels: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    order = rng.permutation(len(labels))
    known = np.unique(labels[labels >= 0])
    return np.concatenate([order[labels[order] == kind][:count] for kind in known])


def _rows(split: Split, chosen: IntArray) -> Split:
    return replace(split, rows=split.rows[chosen], labels=split.labels[chosen])
