"""Encoded image -> RGB pixels, whatever its file format and mode."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from threading import Lock
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.support import threads
from fused_clip.support.arrays import ImageArray

Item = TypeVar("Item")
Done = TypeVar("Done")

# What PIL knows by its first bytes and no more; and EPS, for which it starts Ghostscript.
NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG"})
_REDUCED = frozenset({"JPEG", "MPO"})  # MPO: a JPEG that others follow, as many telephones write it
_PREVIEW = (64, 64)
_WHOLE_PIXELS = 89_478_485  # a JPEG of more is decoded at reduced scale
_LONGEST = 100  # times the short side: scaled to a model's input, that is a photograph's number of pixels
_HEADER = Lock()
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


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS, *, side: int | None = None) -> ImageArray:
    """Decode the first frame of an image to (height, width, 3) uint8 RGB.

    EXIF orientation is applied, transparency is laid over white, and 16-bit grey keeps its high byte. A JPEG
    may be decoded at 1/2, 1/4 or 1/8 of its size: see `reduction`.

    Parameters
    ----------
    encoded : contents of an image file.
    max_pixels : most pixels of an image.
    side : as in `reduction`.
    """
    with _opened(encoded, max_pixels) as image:
        scale = reduction(image.width, image.height, side)
        if scale > 1:  # PIL ignores the request for formats other than those of `_REDUCED`
            image.draft("RGB", (image.width // scale, image.height // scale))
        return _to_rgb(image)


def to_rgb(image: Image.Image) -> ImageArray:
    """Convert an open image as `decode` does; the image is not changed.

    Parameters
    ----------
    image : any mode that `decode` reads.
    """
    with _reasons():
        check_sides(image.height, image.width)
        return _to_rgb(image)


def thumbnail(encoded: bytes, side: int, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image and scale it down.

    Parameters
    ----------
    encoded : contents of an image file.
    side : most pixels of the longer side.
    max_pixels : as in `decode`.
    """
    with _opened(encoded, max_pixels) as image:
        image.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded at twice the side or more
        small = Image.fromarray(_to_rgb(image))
        small.thumbnail((side, side))
        return small


def check(encoded: bytes, max_pixels: int = MAX_PIXELS) -> None:
    """Check that an image can be decoded, checksums included; a JPEG is decoded at reduced size.

    Parameters
    ----------
    encoded : contents of an image file.
    max_pixels : as in `decode`.
    """
    with _opened(encoded, max_pixels) as image:
        image.verify()
    with _opened(encoded, max_pixels) as image:
        image.draft("RGB", _PREVIEW)
        _to_rgb(image)


def count_pixels(encoded: bytes, *, side: int | None = None) -> int:
    """Read width times height from an image's header, as `decode` gives them; 0 where it can't be read.

    Parameters
    ----------
    encoded : contents of an image file.
    side : as in `reduction`; None for the pixels that are stored.
    """
    try:
        with _header(encoded) as image:
            reduced = side is not None and image.format in _REDUCED
            scale = reduction(image.width, image.height, side) if reduced else 1
            return image.width * image.height // scale**2
    except Exception:  # PIL's readers raise anything on damaged bytes
        return 0


def check_sides(height: int, width: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image that decoding, or scaling its short side to a model's input, would make too large.

    Parameters
    ----------
    height, width : pixels of its sides.
    max_pixels : as in `decode`.
    """
    if not width * height:
        raise UnreadableImageError("it has no pixels")
    if width * height > max_pixels:
        raise UnreadableImageError(f"{width} x {height} pixels are too many: over max_pixels={max_pixels}")
    if max(width, height) > _LONGEST * min(width, height):
        raise UnreadableImageError(f"{width} x {height} pixels are too thin: over {_LONGEST} to 1")


@contextmanager
def _opened(encoded: bytes, max_pixels: int) -> Iterator[Image.Image]:
    with _reasons(), _header(encoded) as image:
        check_sides(image.height, image.width, max_pixels)
        yield image


def _header(encoded: bytes) -> Image.Image:
    """Open an image of any number of pixels; nothing is decoded yet."""
    # Image.open warns from 89 million pixels on and fails from 179 million on: PIL has no other way to set
    # the limit than this variable, and filters of warnings are not safe in threads.
    with _HEADER:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(BytesIO(encoded), formats=_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@cache
def _formats() -> tuple[str, ...]:
    Image.preinit()  # the usual formats come first
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in NOT_DECODED)


def reduction(width: int, height: int, side: int | None = None) -> int:
    """Give the factor by which the sides of a large JPEG are divided: 1, 2, 4 or 8.

    One of more than 89,478,485 pixels is divided until it has no more: its short side keeps at least 682
    pixels, twice the largest input of CLIP.

    Parameters
    ----------
    width, height : of the image, in pixels.
    side : an image is also divided as long as its short side keeps this many pixels; None for no such rule.
    """
    large = next((scale for scale in (1, 2, 4) if width * height <= _WHOLE_PIXELS * scale**2), 8)
    if side is None:
        return large
    return max(large, next((scale for scale in (8, 4, 2) if min(width, height) >= scale * side), 1))


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn the errors of PIL into `UnreadableImageError`."""
    try:
        yield
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:  # its own words name an address in memory
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
    else:  # to convert RGB would copy it
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return np.repeat(grey[:, :, None], 3, axis=2)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; `ImageOps.exif_transpose` fails where it can't write the data back."""
    image.load()  # turns a TIFF, which then no longer gives its orientation
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # PIL's readers raise anything on damaged bytes; the pixels may be whole
        return image
    turn = _TURN_OF_ORIENTATION.get(orientation)
    return image if turn is None else image.transpose(turn)


def map_threads(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """Map in threads, in order: PIL and hashlib work without Python's lock.

    Parameters
    ----------
    work : is called with each item.
    items : its arguments.
    """
    with ThreadPoolExecutor(threads.count()) as pool:
        yield from pool.map(work, items)
