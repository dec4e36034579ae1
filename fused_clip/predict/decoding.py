"""Decode and scale images a few at a time, so that few large images are in memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.dataset.reading import Content, decode_each, prepare_many
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


@dataclass(frozen=True)
class DecodedBatch:
    """Items as decoded; large images are model input already, so that few are in memory.

    Parameters
    ----------
    paths, states, errors : as of `ReadBatch`.
    made : model input, or an error, of the first images without an error.
    images : (height, width, 3) of the others.
    """

    paths: list[str]
    states: list[State]
    errors: list[str]
    made: list[ModelInput | str]
    images: list[ImageArray]

    def prepared(self, prepare: Prepare) -> ReadBatch:
        """Prepare the images that are not yet model input; an error in one does not stop the others.

        Parameters
        ----------
        prepare : turns images into model input.
        """
        errors, pixels = list(self.errors), list[ModelInput]()
        good = [place for place, error in enumerate(errors) if not error]
        made = [*self.made, *(_tried(prepare, self.images) if self.images else [])]
        for place, part in zip(good, made, strict=True):
            if isinstance(part, str):
                errors[place] = part
            else:
                pixels.append(part)
        return ReadBatch(self.paths, self.states, errors, pixels)


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
    return decode_items(items, prepare, max_pixels=max_pixels, side=side).prepared(prepare)


def decode_items(
    items: Sequence[Item], prepare: Prepare, *, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> DecodedBatch:
    """Decode items, and prepare only as many images as are too large to wait.

    Parameters
    ----------
    items, prepare, max_pixels, side : as of `read`.
    """
    errors: list[str] = []

    def decoded() -> Iterator[ImageArray]:
        for image in decode_each(map(_content, items), max_pixels, side=side):
            if isinstance(image, UnreadableImageError):
                errors.append(str(image))
            else:
                errors.append("")
                yield image

    paths, states = [item.path for item in items], [item.state() for item in items]
    made, images = prepare_many(decoded(), partial(_tried, prepare))
    return DecodedBatch(paths, states, errors, [part for parts in made for part in parts], images)


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
