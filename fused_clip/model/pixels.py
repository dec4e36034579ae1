"""What users hand over as images -> RGB pixels -> embeddings."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from PIL import Image

from fused_clip.backbone.base import reduced_side
from fused_clip.backbone.batches import bad_rows
from fused_clip.dataset.decode import UnreadableImageError, check_sides, decode, to_rgb
from fused_clip.dataset.reading import prepare_each
from fused_clip.support.arrays import Array, FloatArray, ImageArray
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular

if TYPE_CHECKING:
    from fused_clip.backbone.base import Backbone

# A path, the contents of an image file, a PIL image, or a (height, width, 3) uint8 RGB array
ImageLike: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | Array
ImageLikes: TypeAlias = ImageLike | Iterable[ImageLike]


def is_one(images: ImageLikes) -> bool:
    """Whether this is one image, and no sequence of images.

    Parameters
    ----------
    images : one or several; an array of 2 or 3 dimensions is one.
    """
    if isinstance(images, np.ndarray):
        return images.ndim in (2, 3)
    return isinstance(images, (str, os.PathLike, bytes, Image.Image))


def embed_pixels(images: ImageLikes, backbone: "Backbone") -> FloatArray:
    """Embed m images, some at a time: (m, d); one image is a row.

    Parameters
    ----------
    images : one image, or several; `ImageLike` says of which kinds.
    backbone : embeds them.

    Raises
    ------
    InputError
        If an image can't be read, or its embedding is not finite or is zero.
    """
    several = cast("Iterable[ImageLike]", [images] if is_one(images) else images)
    rows = [np.empty((0, backbone.dim), np.float32)]
    for batch in batched(several, backbone.batch_size):
        decoded = map(partial(pixels, side=reduced_side(backbone)), batch)
        prepared = prepare_each(decoded, backbone.prepare)
        rows.append(backbone.encode_prepared(prepared))
        for bad in bad_rows(rows[-1]):
            raise InputError("images", f"the embedding of {_name(batch[bad])} is not finite, or zero")
    return np.concatenate(rows)


def pixels(image: ImageLike, *, side: int | None = None) -> ImageArray:
    """Give (height, width, 3) uint8 RGB; a PIL image is read as its file would be, with all its pixels.

    Parameters
    ----------
    image : `ImageLike` says of which kinds.
    side : of files, as of `fused_clip.dataset.decode.reduction`.

    Raises
    ------
    InputError
        If a file can't be read as an image, or this is no image.
    """
    try:
        if isinstance(image, np.ndarray):
            return _checked(image)
        if isinstance(image, bytes):
            return decode(image, side=side)
        if isinstance(image, (str, os.PathLike)):
            return decode(read_regular(Path(image), MOST_IMAGE), side=side)
        if isinstance(image, Image.Image):
            return to_rgb(image)
    except (UnreadableImageError, OSError) as error:
        raise InputError("images", f"{_name(image)} can't be read ({error})") from error
    rule = "must be a path, the contents of an image file, a PIL image or an array, or several of these"
    raise InputError("images", rule, image)


def _name(image: object) -> str:
    return str(image) if isinstance(image, (str, os.PathLike)) else "an image"


def _checked(image: Array) -> ImageArray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        rule = "an array must be (height, width, 3) of uint8"
        raise InputError("images", rule, f"{image.shape} of {image.dtype}")
    check_sides(*image.shape[:2])
    return image
