"""Pictures small enough for a page."""

import io

from PIL import Image

from fused_clip.dataset import decode
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.support.arrays import ImageArray
from fused_clip.support.errors import InputError

SIDE = 160  # most pixels of a side: sharp on a dense screen at the size that pages show


def thumbnail_of_file(encoded: bytes, max_pixels: int = MAX_PIXELS) -> bytes:
    """Scale an image file down to a thumbnail, as WebP.

    Parameters
    ----------
    encoded : contents of an image file.
    max_pixels : an image with more is unreadable.

    Raises
    ------
    UnreadableImageError
        If the image can't be read.
    """
    return _webp(decode.thumbnail(encoded, SIDE, max_pixels))


def thumbnail_of_pixels(pixels: ImageArray) -> bytes:
    """Scale decoded pixels down to a thumbnail, as WebP.

    Parameters
    ----------
    pixels : (height, width, 3) uint8 RGB.
    """
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE, SIDE))
    return _webp(small)


def _webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, "WEBP", quality=85)
    except KeyError as error:  # Pillow goes on without a format whose library it can't load
        rule = "needs WebP, and Pillow can't load its library"
        raise InputError("thumbnails", rule, hint="Install Pillow again") from error
    return file.getvalue()
