"""Images -> pixels -> model input, a few at a time, so that large images do not pile up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from typing import TypeVar

from PIL import Image

from fused_clip.dataset.decode import UnreadableImageError, decode, map_threads
from fused_clip.support.arrays import ImageArray

Prepared = TypeVar("Prepared")
Content = bytes | UnreadableImageError

_PIXELS_AT_ONCE = 32_000_000
_WORTH_A_THREAD = 16_384  # bytes; what PIL does under Python's lock outweighs the decoding of smaller images


def decode_each(contents: Iterable[Content]) -> Iterator[ImageArray | UnreadableImageError]:
    """Decode images one after the other, the larger ones in threads.

    Parameters
    ----------
    contents : of image files, asked for as they are decoded; or why there is none.

    Yields
    ------
    (height, width, 3) RGB, or what is wrong.
    """
    for group in _groups(contents):
        threaded = map_threads(_decode, [content for content in group if _is_large(content)])
        for content in group:
            yield next(threaded) if _is_large(content) else _decode(content)


def prepare_many(
    images: Iterable[ImageArray], prepare: Callable[[Sequence[ImageArray]], Prepared]
) -> tuple[list[Prepared], list[ImageArray]]:
    """Give images to `prepare` each time that they hold many pixels.

    Returns
    -------
    What it made, in the images' order, and the last ones, which are not many.
    """
    made: list[Prepared] = []
    group: list[ImageArray] = []
    held = 0
    for image in images:
        group.append(image)
        held += image.size // 3
        if held >= _PIXELS_AT_ONCE:
            made.append(prepare(group))
            group, held = [], 0
    return made, group


def prepare_each(
    images: Iterable[ImageArray], prepare: Callable[[Sequence[ImageArray]], Prepared]
) -> list[Prepared]:
    """Give all images to `prepare`, not many pixels at a time; what it made, in their order."""
    made, rest = prepare_many(images, prepare)
    return [*made, prepare(rest)] if rest else made


def _groups(contents: Iterable[Content]) -> Iterator[list[Content]]:
    """Contents in groups whose large images may be in memory decoded; the others are decoded one by one."""
    group: list[Content] = []
    held = 0
    for content in contents:
        size = _pixels(content)
        if group and held + size > _PIXELS_AT_ONCE:
            yield group
            group, held = [], 0
        group.append(content)
        held += size
    if group:
        yield group


def _is_large(content: Content) -> bool:
    return isinstance(content, bytes) and len(content) > _WORTH_A_THREAD


def _pixels(content: Content) -> int:
    """Number of pixels that the header of a large image tells; 0 for others, and what is no image."""
    if isinstance(content, UnreadableImageError) or not _is_large(content):
        return 0
    try:
        with Image.open(BytesIO(content)) as image:
            return image.width * image.height
    except Exception:  # PIL's readers raise anything on damaged bytes; decoding tells what is wrong
        return 0


def _decode(content: Content) -> ImageArray | UnreadableImageError:
    if isinstance(content, UnreadableImageError):
        return content
    try:
        return decode(content)
    except UnreadableImageError as error:
        return error
