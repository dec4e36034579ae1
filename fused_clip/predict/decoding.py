"""Items -> model input: read, decoded and made small a few at a time, so that large images do not pile up."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.reading import Content, decode_each, prepare_each
from fused_clip.predict.sources import Item, State
from fused_clip.support.arrays import ImageArray

if TYPE_CHECKING:
    import torch

Prepare = Callable[[Sequence[ImageArray]], "torch.Tensor"]


@dataclass(frozen=True)
class ReadBatch:
    """Some items as read.

    Parameters
    ----------
    paths : n names.
    states : of their files, before they were read.
    errors : what is wrong with each item; empty for those that could be read.
    pixels : model input of each of those, in their order.
    """

    paths: list[str]
    states: list[State]
    errors: list[str]
    pixels: "list[torch.Tensor]"


def read(items: Sequence[Item], prepare: Prepare) -> ReadBatch:
    """Read items; what is wrong with one does not stop the others."""
    batch = ReadBatch([item.path for item in items], [item.state() for item in items], [], [])
    good: list[int] = []

    def decoded() -> Iterator[ImageArray]:
        for place, image in enumerate(decode_each(map(_content, items))):
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


def _tried(prepare: Prepare, images: Sequence[ImageArray]) -> "list[torch.Tensor | str]":
    """Model input of each image, made of all at once or, if that fails, of one by one; or what is wrong."""
    import torch

    try:
        return list(torch.split(prepare(images), 1))
    except (MemoryError, RuntimeError) as error:
        if len(images) == 1:
            return [f"it can't be made the model's input ({type(error).__name__})"]
    return [part for image in images for part in _tried(prepare, [image])]
