"""Fusion of image and text rows.

A fusion is any callable ``(images (n, d), texts (n, d) or (d,)) -> fused (n, d)``. The linear ones are
`LinearFusion`, for which classification is one matrix product instead of one a prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fused_clip.support.arrays import Rows
from fused_clip.support.errors import InputError

Fusion = Callable[[Rows, Rows], Rows]


@dataclass(frozen=True)
class LinearFusion:
    """``image_weight * x + text_weight * t``."""

    image_weight: float
    text_weight: float

    def __call__(self, images: Rows, texts: Rows) -> Rows:
        """Fuse (n, d) image rows with (n, d) text rows, or with one (d,) text row."""
        return np.asarray(self.image_weight * images + self.text_weight * texts, dtype=images.dtype)


def mean() -> LinearFusion:
    """``(x + t) / 2``, the paper's fusion."""
    return LinearFusion(0.5, 0.5)


def weighted(alpha: float) -> LinearFusion:
    """``alpha x + (1 - alpha) t``.

    Raises
    ------
    InputError
        If `alpha` is outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise InputError("fusion.alpha", "must be between 0 and 1", alpha)
    return LinearFusion(alpha, 1 - alpha)


def fuse(
    images: Rows, texts: Rows | None, fusion: Fusion, *, normalize_inputs: bool, normalize_output: bool
) -> Rows:
    """Fuse (n, d) image rows with (n, d) text rows, or leave them as they are without text.

    Parameters
    ----------
    texts : normalised already if `normalize_inputs`.
    normalize_inputs, normalize_output : L2-normalise image rows before, fused rows after.
    """
    if normalize_inputs:
        images = l2_normalized(images)
    fused = images if texts is None else fusion(images, texts)
    return l2_normalized(fused) if normalize_output else fused


def l2_normalized(rows: Rows) -> Rows:
    """Scale each row to unit length; zero rows stay zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1, norms), dtype=rows.dtype)
