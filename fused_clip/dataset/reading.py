"""Images -> pixels -> model input, a few at a time, so that large images do not pile up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from fused_clip.dataset.decode import UnreadableImageError, count_pixels, decode, map_threads
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.support.arrays import ImageArray

Prepared = TypeVar("Prepared")
Content = bytes | UnreadableImageError

_PIXELS_AT_ONCE = 32_000_000
_WORTH_A_THREAD = 16_384  # bytes; what PIL does under Python's lock outweighs the decoding of smaller images


def decode_each(
    contents: Iterable[Content], max_pixels: int = MAX_PIXELS
) -> Iterator[ImageArray | UnreadableImageError]:
    """Decode images one after the other, the larger ones in threads.

    Parameters
    ----------
    contents : of image files, asked for as they are decoded; or why there is none.
    max_pixels : images of more pixels are unreadable.

    Yields
    ------
    (height, width, 3) RGB, or what is wrong.
    """
    for group in _groups(contents):
        work = partial(_decode, max_pixels=max_pixels)
        threaded = map_threads(work, [content for content in group if _is_large(content)])
        for content in group:
            yield next(threaded) if _is_large(content) else work(content)


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
    """Number of pixels in the header of a large image; 0 for others, and what is no image."""
    return count_pixels(content) if isinstance(content, bytes) and _is_large(content) else 0


def _decode(content: Content, max_pixels: int) -> ImageArray | UnreadableImageError:
    if isinstance(content, UnreadableImageError):
        return content
    try:
        return decode(content, max_pixels)
    except UnreadableImageError as error:
        return error
