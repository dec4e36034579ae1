"""The rows that a run trains on and watches, and what their classes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.compact_clip.captions import Concepts
from experiments.compact_clip.data import (
    Split,
    find,
    fingerprint,
    hold_out,
    load_split,
    reserved_digits,
    without,
)
from fused_clip.dataset.names import shortened
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from experiments.compact_clip.settings import Settings


@dataclass(frozen=True)
class Corpus:
    """Train and held-out rows of the three sets, in the order mnist, cifar10, cifar100."""

    train: tuple[Split, ...]
    held_out: tuple[Split, ...]
    concepts: Concepts
    fingerprint: str

    @property
    def superclasses(self) -> dict[str, str]:
        """Superclass of each class of CIFAR-100."""
        names = (self.concepts.superclasses[index] for index in self.concepts.superclass_of)
        return dict(zip(self.concepts.cifar100, names, strict=True))


def load_corpus(settings: Settings) -> Corpus:
    """Read the official train splits, leave out the reserved digits, hold rows out.

    Raises
    ------
    InputError
        If a set is not there or can't be read, or is too small for the settings.
    """
    found = find(settings.data_dir)
    splits = [load_split(name, files, settings.limit) for name, files in found.items()]
    return make_corpus(splits, reserved_digits(), settings.holdout, settings.seed)


def make_corpus(splits: list[Split], reserved: np.ndarray, holdout: int, seed: int) -> Corpus:
    """Make the corpus of [mnist, cifar10, cifar100] without the digits `reserved` (n, 28, 28).

    Raises
    ------
    InputError
        If a class has no image, or `holdout` leaves none of a set to train on.
    """
    splits = [without(splits[0], reserved), *splits[1:]]
    for split in splits:
        _check_classes(split)
    pairs = [hold_out(split, holdout, seed) for split in splits]
    cifar10, cifar100 = splits[1:]
    concepts = Concepts(
        cifar10.class_names, cifar100.class_names, cifar100.superclass_names, cifar100.superclass_of()
    )
    return Corpus(
        tuple(train for train, _ in pairs), tuple(held for _, held in pairs), concepts, fingerprint(splits)
    )


def _check_classes(split: Split) -> None:
    rows = np.bincount(split.labels, minlength=len(split.class_names))
    absent = [name for name, count in zip(split.class_names, rows, strict=True) if not count]
    if absent:
        rule = f"must leave {split.name} an image of every class, and leaves none of {shortened(absent)}"
        raise InputError("limit", rule, len(split.labels))
