"""Rows that were embedded elsewhere, in the place of images."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from fused_clip.dataset.names import shortened
from fused_clip.support.arrays import Array, FloatArray, IntArray
from fused_clip.support.errors import InputError


@dataclass(frozen=True, eq=False)
class Vectors:
    """Precomputed embeddings, in the place of images.

    Parameters
    ----------
    vectors : (n, d) float32, finite, no row zero.
    names : unique name of each row.
    """

    vectors: FloatArray
    names: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Width d."""
        return int(self.vectors.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape and values."""
        digest = hashlib.sha256(repr(self.vectors.shape).encode())
        digest.update(np.ascontiguousarray(self.vectors).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: IntArray) -> NoReturn:
        """Raise `InputError`: there are no pixels."""
        raise InputError("dataset", "has vectors, not images that can be read")

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows as given."""
        return [self.names[row] for row in rows]


def checked_vectors(option: str, values: Array, names: tuple[str, ...]) -> FloatArray:
    """Convert an array to (n, d) float32 embeddings, finite and no row zero.

    Parameters
    ----------
    option : names the array in errors.
    values : (n, d) real numbers.
    names : name of each row.
    """
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        received = f"{values.dtype} of shape {values.shape}"
        raise InputError(option, "must contain a matrix of numbers, one row an image", received)
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(values, dtype=np.float32)
    bad = np.flatnonzero(~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)))
    if len(bad):
        listed = shortened(names[row] for row in bad)
        rule = f"must be finite and not zero in every row; {len(bad)} of {len(vectors)} are not: {listed}"
        raise InputError(option, rule)
    return vectors
