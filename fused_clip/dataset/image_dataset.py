"""What every dataset option returns: two splits of labelled images, names, groups and captions."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from fused_clip.dataset.options import Captions
from fused_clip.support.arrays import FloatArray, ImageArray, IntArray


class Images(Protocol):
    """A finite sequence of images in a fixed order, decoded when they are read."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the contents in their order; not of paths or times."""

    def __len__(self) -> int: ...

    def read(self, rows: IntArray) -> Iterable[ImageArray]:
        """Decode the given rows to (height, width, 3) uint8 RGB: one by one, if they may be large.

        Parameters
        ----------
        rows : (n,) of the sequence.
        """

    def ids(self, rows: IntArray) -> list[str]:
        """Name each of the given rows, stable across runs and unique in the sequence.

        Parameters
        ----------
        rows : (n,) of the sequence.
        """


@runtime_checkable
class ReducibleImages(Protocol):
    """Images of which large JPEGs can be decoded at reduced size."""

    def reduced(self, side: int) -> Images:
        """Give the same images, decoded at 1/2, 1/4 or 1/8 where they are JPEGs that are large enough.

        Parameters
        ----------
        side : pixels that the short side of a reduced image keeps at least.
        """


@dataclass(frozen=True)
class Split:
    """Labelled rows of a parent sequence of images.

    Parameters
    ----------
    images : the parent split, which is embedded once whatever subset of it is used.
    rows : (n,) rows of the parent, in the order of this split.
    labels : (n,) class index of each row, in [0, C); -1 where it is not known.
    origin : what the images are, e.g. ``mnist/train``; its set is compared with those a backbone was trained
        on.
    """

    images: Images
    rows: IntArray
    labels: IntArray
    origin: str

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> bool:
        """Whether the classes of all rows are known."""
        return bool((self.labels >= 0).all())

    @property
    def ids(self) -> list[str]:
        """Stable name of each row.

        Parameters
        ----------
        rows : (n,) of the sequence.
        """
        return self.images.ids(self.rows)

    def read(self) -> Iterable[ImageArray]:
        """Decode the rows in their order, to (height, width, 3) uint8 RGB."""
        return self.images.read(self.rows)


@dataclass(frozen=True)
class ImageDataset:
    """Images of two splits with the names, groups and captions that prompts are made from.

    Parameters
    ----------
    name : short name, as in ``dataset=<name>``.
    train, test : the two splits.
    class_names : C distinct display names, in class order (the swapped strategy depends on it).
    groups : group name of each class that has one; empty where there are none.
    captions : templates of prompts.
    swap : whose prompt a class takes under the swapped strategy: its previous or next class's.
    source : where the images came from, with version or commit.
    skipped : names of images that were left out because they can't be read.
    texts : text -> its (d,) vector, for those that came with the data.
    files : tables that the images or vectors came from; not files of single images.
    calibration : images held out of `train`, for guarantees on a model's answers; None for none.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    captions: Captions = field(default_factory=Captions)
    swap: Literal["previous", "next"] = "previous"
    source: str = ""
    skipped: tuple[str, ...] = ()
    texts: Mapping[str, FloatArray] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    calibration: Split | None = None

    @property
    def splits(self) -> tuple[Split, ...]:
        """Training, test and, if there are any, calibration images."""
        both = (self.train, self.test)
        return both if self.calibration is None else (*both, self.calibration)

    @property
    def labelled(self) -> bool:
        """Whether the classes of all images are known."""
        return self.train.labelled and self.test.labelled

    @property
    def has_labels(self) -> bool:
        """Whether the class of any training image is known."""
        return bool((self.train.labels >= 0).any())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all splits: image contents, chosen rows, labels and class names."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for split in self.splits:
            digest.update(split.images.fingerprint.encode())
            digest.update(np.ascontiguousarray(split.rows, dtype=np.int64).tobytes())
            digest.update(np.ascontiguousarray(split.labels, dtype=np.int64).tobytes())
        return digest.hexdigest()
