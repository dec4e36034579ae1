"""Encoded image -> RGB pixels, whatever its file format and mode."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fused_clip.support import threads
from fused_clip.support.arrays import ImageArray

Item = TypeVar("Item")
Done = TypeVar("Done")

_PREVIEW = (64, 64)
_LONGEST = 100  # times the short side, which becomes some hundred pixels: all in all a photograph's number
_TURN_OF_ORIENTATION: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        If the bytes are no image, damaged, cut off, of a mode without a fixed range, of more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`, or more than 100 times as long as wide.
    """
    with _opened(encoded) as image:
        return _to_rgb(image)


def to_rgb(image: Image.Image) -> ImageArray:
    """Give the pixels of an image that is open, as `decode` gives those of its file; it stays as it is."""
    with _reasons():
        check_sides(image.height, image.width)
        return _to_rgb(image)


def thumbnail(encoded: bytes, side: int) -> Image.Image:
    """Scale an image, as `decode` reads it, down to `side`; of a JPEG no more pixels are made than help."""
    with _opened(encoded) as image:
        image.draft("RGB", (2 * side, 2 * side))
        small = Image.fromarray(_to_rgb(image))
        small.thumbnail((side, side))
        return small


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


def check_sides(height: int, width: int) -> None:
    """Refuse an image that decoding, or scaling its short side to a model's input, would make too large.

    Raises
    ------
    UnreadableImageError
        If it has no pixels or more than `PIL.Image.MAX_IMAGE_PIXELS`, or is more than 100 times as long as
        wide.
    """
    if not width * height:
        raise UnreadableImageError("it has no pixels")
    if width * height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        raise UnreadableImageError(f"{width} x {height} pixels are too many")
    if max(width, height) > _LONGEST * min(width, height):
        raise UnreadableImageError(f"{width} x {height} pixels are too thin: over {_LONGEST} to 1")


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    with _reasons(), Image.open(BytesIO(encoded)) as image:
        check_sides(image.height, image.width)
        yield image


@contextmanager
def _reasons() -> Iterator[None]:
    """Say why an image can't be read, each time in the same words."""
    try:
        yield
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:  # its own words hold an address in memory
        raise UnreadableImageError("it is no image of a kind that can be read") from error
    except Exception as error:  # PIL's readers raise anything on damaged bytes
        raise UnreadableImageError(f"{type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> ImageArray:
    image = _upright(image)
    # PIL reads grey of a Netpbm file into 32 bits, in the range of 16.
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise UnreadableImageError("signed, 32-bit and floating-point pixels have no fixed range")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = 255
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
    elif image.mode == "L":
        grey = np.asarray(image)
    else:
        return np.array(image.convert("RGB"))
    return np.repeat(grey[:, :, None], 3, axis=2)


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data say; PIL's own function fails where it can't write them back."""
    image.load()  # turns a TIFF, whose orientation is then not told any more
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # PIL's readers raise anything on damaged bytes; the pixels may be whole
        return image
    turn = _TURN_OF_ORIENTATION.get(orientation)
    return image if turn is None else image.transpose(turn)


def map_threads(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """Map in as many threads as may run: PIL decodes and hashlib hashes without Python's lock."""
    with ThreadPoolExecutor(threads.count()) as pool:
        yield from pool.map(work, items)
