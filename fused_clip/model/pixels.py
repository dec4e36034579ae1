"""What users hand over as an image -> RGB pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fused_clip.dataset.decode import UnreadableImageError, check_sides, decode, to_rgb
from fused_clip.support.arrays import Array, ImageArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike: TypeAlias = "str | Path | bytes | Image | Array"


def pixels(image: ImageLike) -> ImageArray:
    """Give (height, width, 3) uint8 RGB; a PIL image is read as its file would be.

    Raises
    ------
    InputError
        If a file can't be read as an image, or an array is not of this kind.
    """
    name = str(image) if isinstance(image, (str, Path)) else "image"
    try:
        if isinstance(image, np.ndarray):
            return _checked(image)
        if isinstance(image, bytes):
            return decode(image)
        if isinstance(image, (str, Path)):
            return decode(Path(image).read_bytes())
        return to_rgb(image)
    except (UnreadableImageError, OSError) as error:
        raise InputError("images", f"{name} can't be read ({error})") from error


def _checked(image: Array) -> ImageArray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        rule = "an array must be (height, width, 3) of uint8"
        raise InputError("images", rule, f"{image.shape} of {image.dtype}")
    check_sides(*image.shape[:2])
    return image
