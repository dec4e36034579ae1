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
    contents: Iterable[Content], max_pixels: int = MAX_PIXELS, *, side: int | None = None
) -> Iterator[ImageArray | UnreadableImageError]:
    """Decode images to (height, width, 3) RGB or the error, in order, large ones in threads.

    Parameters
    ----------
    contents : image files, or the error of reading one.
    max_pixels : images of more pixels are unreadable.
    side : as of `fused_clip.dataset.decode.reduction`.
    """
    for group in _groups(contents, side):
        work = partial(_decode, max_pixels=max_pixels, side=side)
        threaded = map_threads(work, [content for content in group if _is_large(content)])
        for content in group:
            yield next(threaded) if _is_large(content) else work(content)


def prepare_many(
    images: Iterable[ImageArray], prepare: Callable[[Sequence[ImageArray]], Prepared]
) -> tuple[list[Prepared], list[ImageArray]]:
    """Call `prepare` on groups of images; return its results and the images of the last, unfinished group.

    Parameters
    ----------
    images : (height, width, 3) each.
    prepare : is called with 32 million pixels or more.
    """
    made: list[Prepared] = []
    group: list[ImageArray] = []
    pixels = 0
    for image in images:
        group.append(image)
        pixels += image.size // 3
        if pixels >= _PIXELS_AT_ONCE:
            made.append(prepare(group))
            group, pixels = [], 0
    return made, group


def prepare_each(
    images: Iterable[ImageArray], prepare: Callable[[Sequence[ImageArray]], Prepared]
) -> list[Prepared]:
    """Call `prepare` on groups of images until all are done; return its results in order.

    Parameters
    ----------
    images : (height, width, 3) each.
    prepare : makes model input of a group.
    """
    made, rest = prepare_many(images, prepare)
    return [*made, prepare(rest)] if rest else made


def _groups(contents: Iterable[Content], side: int | None) -> Iterator[list[Content]]:
    """Groups whose large images fit in memory decoded; small ones are decoded one by one."""
    group: list[Content] = []
    pixels = 0
    for content in contents:
        size = _pixels(content, side)
        if group and pixels + size > _PIXELS_AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append(content)
        pixels += size
    if group:
        yield group


def _is_large(content: Content) -> bool:
    return isinstance(content, bytes) and len(content) > _WORTH_A_THREAD


def _pixels(content: Content, side: int | None) -> int:
    """Number of pixels that a large image will have; 0 for small files and unreadable ones."""
    return count_pixels(content, side=side) if isinstance(content, bytes) and _is_large(content) else 0


def _decode(content: Content, max_pixels: int, side: int | None) -> ImageArray | UnreadableImageError:
    if isinstance(content, UnreadableImageError):
        return content
    try:
        return decode(content, max_pixels, side=side)
    except UnreadableImageError as error:
        return error
