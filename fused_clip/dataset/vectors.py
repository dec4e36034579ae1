"""Rows that were embedded elsewhere, in the place of images."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from fused_clip.dataset.mapped_rows import MappedRows
from fused_clip.dataset.names import shortened
from fused_clip.support.arrays import Array, FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks


@dataclass(frozen=True, eq=False)
class Vectors:
    """Precomputed embeddings, in the place of images.

    Parameters
    ----------
    vectors : (n, d) float32, finite, no row zero; an array, or rows of a file.
    names : unique name of each row.
    """

    vectors: FloatArray | MappedRows
    names: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Width d."""
        return int(self.vectors.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape and values."""
        digest = hashlib.sha256(repr(self.vectors.shape).encode())
        for block in row_blocks(len(self.vectors)):
            digest.update(np.ascontiguousarray(self.vectors[block]).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: IntArray) -> NoReturn:
        """Raise `InputError`: there are no pixels."""
        raise InputError("dataset", "has vectors, not images that can be read")

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows as given."""
        return [self.names[row] for row in rows]


def checked_vectors(
    option: str, values: Array | MappedRows, names: tuple[str, ...]
) -> FloatArray | MappedRows:
    """Convert an array to (n, d) float32 embeddings, finite and no row zero; rows of a file stay there.

    Parameters
    ----------
    option : names the array in errors.
    values : (n, d) real numbers.
    names : name of each row.
    """
    vectors = values if isinstance(values, MappedRows) else _as_matrix(option, values)
    blocks = ((block, vectors[block]) for block in row_blocks(len(vectors)))
    bad = np.concatenate(
        [
            block.start + np.flatnonzero(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1)))
            for block, rows in blocks
        ]
    )
    if len(bad):
        listed = shortened(names[row] for row in bad)
        rule = f"must be finite and not zero in every row; {len(bad)} of {len(vectors)} are not: {listed}"
        raise InputError(option, rule)
    return vectors


def _as_matrix(option: str, values: Array) -> FloatArray:
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        received = f"{values.dtype} of shape {values.shape}"
        raise InputError(option, "must contain a matrix of numbers, one row an image", received)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)
