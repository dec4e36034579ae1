"""Decode and scale images a few at a time, so that few large images are in memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.dataset.reading import Content, decode_each, prepare_each
from fused_clip.predict.sources import Item, State
from fused_clip.support.arrays import ImageArray

ModelInput: TypeAlias = Sequence[Any]  # one item an image, as a backbone's `prepare` gives it
Prepare = Callable[[Sequence[ImageArray]], ModelInput]


@dataclass(frozen=True)
class ReadBatch:
    """Items as read.

    Parameters
    ----------
    paths : n names.
    states : of the n files, before they were read.
    errors : n reasons why an item can't be read, or empty.
    pixels : model input of each item without an error, in order: sequences of one.
    """

    paths: list[str]
    states: list[State]
    errors: list[str]
    pixels: list[ModelInput]


def read(
    items: Sequence[Item], prepare: Prepare, *, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> ReadBatch:
    """Read items; an error in one does not stop the others.

    Parameters
    ----------
    items : images to read.
    prepare : turns images into model input.
    max_pixels : images with more are errors.
    side : as of `fused_clip.dataset.decode.reduction`.
    """
    batch = ReadBatch([item.path for item in items], [item.state() for item in items], [], [])
    good: list[int] = []

    def decoded() -> Iterator[ImageArray]:
        contents = map(_content, items)
        for place, image in enumerate(decode_each(contents, max_pixels, side=side)):
            batch.errors.append("")
            if isinstance(image, UnreadableImageError):
                batch.errors[place] = str(image)
            else:
                good.append(place)
                yield image

    made = [part for parts in prepare_each(decoded(), partial(_tried, prepare)) for part in parts]
    for place, part in zip(good, made, strict=True):
        if isinstance(part, str):
            batch.errors[place] = part
        else:
            batch.pixels.append(part)
    return batch


def _content(item: Item) -> Content:
    try:
        return item.read()
    except OSError as error:
        return UnreadableImageError(error.strerror or str(error))


def _tried(prepare: Prepare, images: Sequence[ImageArray]) -> list[ModelInput | str]:
    """Model input of each image or an error: made of all at once or, if that fails, one by one."""
    try:
        prepared = prepare(images)
        return [prepared[i : i + 1] for i in range(len(images))]
    except (MemoryError, RuntimeError) as error:
        if len(images) == 1:
            return [f"it can't be made the model's input ({type(error).__name__})"]
    return [part for image in images for part in _tried(prepare, [image])]
