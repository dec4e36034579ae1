"""Fusion of image and text rows: one object that also owns the normalisation before and after."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fused_clip.support.arrays import DoubleArray, IntArray, Rows
from fused_clip.support.errors import InputError, part_errors
from fused_clip.support.many_rows import row_blocks

_PARALLEL = 1e-6  # sine below which float32 rows are parallel


@dataclass(frozen=True)
class Fusion(ABC):
    """``(images (n, d), texts (n, d)) -> fused (n, w)``; a fusion of your own implements `combine`.

    Parameters
    ----------
    normalize_inputs : L2-normalise image and text rows before they are combined.
    normalize_output : L2-normalise the fused rows.

    Attributes
    ----------
    row_wise : whether each fused row depends on its own two rows alone, so that many rows can be fused by
        blocks.
    """

    row_wise: ClassVar[bool] = False
    normalize_inputs: bool = field(default=False, kw_only=True)
    normalize_output: bool = field(default=False, kw_only=True)

    @abstractmethod
    def combine(self, images: Rows, texts: Rows) -> Rows:
        """Combine rows that `inputs` has prepared.

        Parameters
        ----------
        images : (n, d) image rows.
        texts : (n, d) text rows, or one (d,) row for all images.

        Returns
        -------
        (n, w) rows; the width w may differ from d.
        """

    def inputs(self, rows: Rows) -> Rows:
        """Prepare image rows or text rows: normalised, or as they are.

        Parameters
        ----------
        rows : (n, d) rows.
        """
        return l2_normalized(rows) if self.normalize_inputs else rows

    def fuse(self, images: Rows, texts: Rows | None) -> Rows:
        """Fuse rows that `inputs` has prepared.

        Parameters
        ----------
        images : (n, d) image rows.
        texts : (n, d) text rows, one (d,) row for all images, or None for images alone.

        Returns
        -------
        (n, w) rows; (n, d) for images alone.
        """
        fused = images if texts is None else self.combine(images, texts)
        return l2_normalized(fused) if self.normalize_output else fused

    def fuse_each(self, images: Rows, texts: Rows | None, index: IntArray | None) -> Rows:
        """Prepare rows, and fuse each image row with a text row of its own.

        More than 100,000 rows are fused by blocks if the fusion is `row_wise`.

        Parameters
        ----------
        images : (n, d) image rows.
        texts : (p, d) text rows; None for images alone.
        index : (n,) text row of each image row, in [0, p); None for images alone.

        Returns
        -------
        (n, w) rows.
        """
        if texts is None or index is None:
            return self.fuse(self.inputs(images), None)
        own = self.inputs(texts)
        blocks = list(row_blocks(len(images))) if self.row_wise else [slice(0, len(images))]
        first, *others = blocks
        fused = self.fuse(self.inputs(images[first]), own[index[first]])
        if not others:
            return fused
        everything = np.empty((len(images), fused.shape[1]), fused.dtype)
        everything[first] = fused
        for block in others:
            everything[block] = self.fuse(self.inputs(images[block]), own[index[block]])
        return everything

    def image_part(self, fused: Rows, texts: Rows) -> Rows:
        """Take the image rows out of fused rows, or out of their means: (n, d).

        Parameters
        ----------
        fused : (n, w) rows.
        texts : (n, d) rows that they were fused with, as `inputs` prepares them.

        Raises
        ------
        InputError
            If this fusion keeps no image rows: it is not linear, or has normalised the fused rows.
        """
        rule = f"can't be {type(self).__name__}: the image can't be taken out of its fused rows"
        raise InputError("fusion", rule, hint="Use a run with fusion=mean, weighted or concatenation")

    @property
    def ignores_images(self) -> bool:
        """Whether the fused rows depend on the texts alone."""
        return False

    def __call__(self, images: Rows, texts: Rows | None) -> Rows:
        """Prepare and fuse: `inputs` of both, then `fuse`.

        Parameters
        ----------
        images : (n, d) image rows.
        texts : (n, d) text rows, one (d,) row for all images, or None for images alone.
        """
        return self.fuse(self.inputs(images), None if texts is None else self.inputs(texts))


@dataclass(frozen=True)
class LinearFusion(Fusion):
    """``image_weight * x + text_weight * t``: classification needs one matrix product for all prompts.

    Parameters
    ----------
    image_weight, text_weight : factors of the two rows.
    """

    row_wise: ClassVar[bool] = True
    image_weight: float = 0.5
    text_weight: float = 0.5

    @property
    def ignores_images(self) -> bool:
        """Whether the images have no weight."""
        return self.image_weight == 0

    def combine(self, images: Rows, texts: Rows) -> Rows:
        """Weighted sum, in the type of the images."""
        return np.asarray(self.image_weight * images + self.text_weight * texts, dtype=images.dtype)

    def image_part(self, fused: Rows, texts: Rows) -> Rows:
        """Take the weighted texts away."""
        if self.normalize_output or self.ignores_images:
            return super().image_part(fused, texts)
        return np.asarray((fused - self.text_weight * texts) / self.image_weight)


@dataclass(frozen=True)
class Concatenation(Fusion):
    """``[sqrt(alpha) x, sqrt(1 - alpha) t]``, of width 2 d: a squared distance is the weighted sum of both.

    Parameters
    ----------
    alpha : share of the image, in [0, 1].

    Raises
    ------
    InputError
        If `alpha` is outside [0, 1].
    """

    row_wise: ClassVar[bool] = True
    alpha: float = 0.5

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    @property
    def ignores_images(self) -> bool:
        """Whether the images have no share."""
        return self.alpha == 0

    def combine(self, images: Rows, texts: Rows) -> Rows:
        """Put both rows side by side, in the type of the images."""
        parts = [self.alpha**0.5 * images, (1 - self.alpha) ** 0.5 * np.broadcast_to(texts, images.shape)]
        return np.asarray(np.concatenate(parts, axis=1), dtype=images.dtype)

    def image_part(self, fused: Rows, texts: Rows) -> Rows:
        """Take the first half."""
        if self.normalize_output or self.ignores_images:
            return super().image_part(fused, texts)
        return np.asarray(fused[:, : texts.shape[1]] / self.alpha**0.5)


@dataclass(frozen=True)
class SphericalInterpolation(Fusion):
    """The point at share `alpha` of the great circle's arc from the unit text row to the unit image row.

    ``cos(alpha w) t + sin(alpha w) u``, where w is the angle between both and u the unit direction of the
    image at a right angle to the text: slerp (Shoemake 1985, doi:10.1145/325334.325242). The weighted mean
    cuts through the sphere instead, so that its rows are short where image and text differ. Opposite rows
    have no shortest arc: one is chosen by the text row alone.

    Parameters
    ----------
    alpha : share of the image, in [0, 1].

    Raises
    ------
    InputError
        If `alpha` is outside [0, 1].
    """

    row_wise: ClassVar[bool] = True
    alpha: float = 0.5

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    @property
    def ignores_images(self) -> bool:
        """Whether the images have no share."""
        return self.alpha == 0

    def combine(self, images: Rows, texts: Rows) -> Rows:
        """Interpolate in float64; unit rows in the type of the images."""
        image = unit_rows(images)
        text = np.broadcast_to(unit_rows(texts), image.shape)
        cosine = (image * text).sum(axis=1, keepdims=True)
        across = image - cosine * text
        sine = np.linalg.norm(across, axis=1, keepdims=True)
        opposite = (sine[:, 0] < _PARALLEL) & (cosine[:, 0] < 0)
        if opposite.any():
            across[opposite] = _at_right_angles(text[opposite])
        # The arctangent of both is exact for small angles, where the arc cosine loses half of the digits.
        angle = self.alpha * np.arctan2(sine, cosine)
        fused = np.cos(angle) * text + np.sin(angle) * l2_normalized(across)
        return np.asarray(l2_normalized(fused), dtype=images.dtype)


@dataclass(frozen=True)
class FunctionFusion(Fusion):
    """A plain function as a fusion; a model that has one can't be saved as data.

    Parameters
    ----------
    function : ``(images (n, d), texts (n, d) or (d,)) -> fused (n, w)``.
    """

    function: Callable[[Rows, Rows], Rows]

    def combine(self, images: Rows, texts: Rows) -> Rows:
        """Call the function.

        Raises
        ------
        InputError
            If it fails, or gives no matrix of a row for each image.
        """
        with part_errors("fusion", self.function):
            fused = self.function(images, texts)
        if not isinstance(fused, np.ndarray) or fused.ndim != 2 or len(fused) != len(images):
            rule = f"must give a row for each of {len(images)} images"
            raise InputError("fusion", rule, getattr(fused, "shape", type(fused).__name__))
        return fused


def mean(normalize_inputs: bool = False, normalize_output: bool = False) -> LinearFusion:
    """``(x + t) / 2``, the paper's fusion.

    Parameters
    ----------
    normalize_inputs, normalize_output : as in `Fusion`.
    """
    return weighted(0.5, normalize_inputs, normalize_output)


def weighted(alpha: float, normalize_inputs: bool = False, normalize_output: bool = False) -> LinearFusion:
    """``alpha x + (1 - alpha) t``.

    Parameters
    ----------
    alpha : share of the image, in [0, 1].
    normalize_inputs, normalize_output : as in `Fusion`.

    Raises
    ------
    InputError
        If `alpha` is outside [0, 1].
    """
    _check_alpha(alpha)
    return LinearFusion(
        alpha, 1 - alpha, normalize_inputs=normalize_inputs, normalize_output=normalize_output
    )


def _at_right_angles(rows: Rows) -> Rows:
    """Direction at a right angle to each unit row: what it leaves of the axis that it has least of."""
    axes = np.eye(rows.shape[1])[np.abs(rows).argmin(axis=1)]
    return np.asarray(axes - (axes * rows).sum(axis=1, keepdims=True) * rows)


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise InputError("fusion.alpha", "must be between 0 and 1", alpha)


def l2_normalized(rows: Rows) -> Rows:
    """Scale each row to unit length; zero rows stay zero.

    Parameters
    ----------
    rows : (..., d) rows.
    """
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1, norms), dtype=rows.dtype)


def unit_rows(rows: Rows) -> DoubleArray:
    """Scale each row to unit length in float64; zero rows stay zero.

    Parameters
    ----------
    rows : (..., d) rows.
    """
    return l2_normalized(np.asarray(rows, dtype=np.float64))
