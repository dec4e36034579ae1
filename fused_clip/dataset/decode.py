"""Encoded image -> RGB pixels, whatever its file format and mode."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from fused_clip import threads
from fused_clip.dataset.base import ImageArray

Item = TypeVar("Item")
Done = TypeVar("Done")

_PREVIEW = (64, 64)


class UnreadableImageError(ValueError):
    """Bytes that are not a whole image of a kind that can be read."""


def decode(encoded: bytes) -> ImageArray:
    """Decode the first frame of an image.

    It is turned as its EXIF orientation says, transparency is laid over white, and 16-bit grey keeps its high
    byte.

    Parameters
    ----------
    encoded : contents of an image file.

    Returns
    -------
    (height, width, 3) uint8 RGB, writable.

    Raises
    ------
    UnreadableImageError
        If the bytes are no image, damaged, cut off, of a mode without a fixed range, or of more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    with _opened(encoded) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def check(encoded: bytes) -> None:
    """See that an image can be decoded, checksums included; a JPEG's data are read, but fewer pixels made.

    Raises
    ------
    UnreadableImageError
        As `decode`.
    """
    with _opened(encoded) as image:
        image.verify()
    with _opened(encoded) as image:
        image.draft("RGB", _PREVIEW)
        _to_rgb(image)


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(encoded)) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                raise UnreadableImageError(f"{image.width} x {image.height} pixels are too many")
            yield image
    except UnreadableImageError:
        raise
    except Exception as error:  # PIL's readers raise anything on damaged bytes
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> ImageArray:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
    if image.mode.startswith("I"):
        grey = (np.clip(np.asarray(image), 0, 65535).astype(np.uint16) >> 8).astype(np.uint8)
    elif image.mode == "L":
        grey = np.asarray(image)
    elif image.mode == "F":
        raise UnreadableImageError("floating-point pixels have no fixed range")
    else:
        return np.array(image.convert("RGB"))
    return np.repeat(grey[:, :, None], 3, axis=2)


def map_threads(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """Map in as many threads as may run: PIL decodes and hashlib hashes without Python's lock."""
    with ThreadPoolExecutor(threads.count()) as pool:
        yield from pool.map(work, items)
