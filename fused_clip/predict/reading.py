"""Items -> model input: read, decoded and made small a few at a time, so that large images do not pile up."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fused_clip.dataset.base import ImageArray
from fused_clip.dataset.decode import UnreadableImageError, decode, map_threads
from fused_clip.predict.sources import Item

if TYPE_CHECKING:
    import torch

_PIXELS_AT_ONCE = 32_000_000
_WORTH_A_THREAD = 16_384  # bytes

Prepare = Callable[[Sequence[ImageArray]], "torch.Tensor"]


@dataclass(frozen=True)
class ReadBatch:
    """Some items as read.

    Parameters
    ----------
    paths : n names.
    errors : what is wrong with each item; empty for those that could be read.
    pixels : model input of those, in their order.
    """

    paths: list[str]
    errors: list[str]
    pixels: "list[torch.Tensor]"


def read(items: Sequence[Item], prepare: Prepare) -> ReadBatch:
    """Read items; what is wrong with one does not stop the others."""
    errors, pixels = [], []
    for group in _groups(items):
        decoded = _decode_all(group)
        good = [image for image in decoded if isinstance(image, np.ndarray)]
        errors += ["" if isinstance(image, np.ndarray) else image for image in decoded]
        if good:
            pixels.append(prepare(good))
    return ReadBatch([item.path for item in items], errors, pixels)


def _groups(items: Sequence[Item]) -> Iterator[list[bytes | str]]:
    """Contents of the items' files, or what is wrong, in groups that may be in memory decoded."""
    group: list[bytes | str] = []
    held = 0
    for item in items:
        try:
            content: bytes | str = item.read()
        except OSError as error:
            content = error.strerror or str(error)
        size = _pixels(content)
        if group and held + size > _PIXELS_AT_ONCE:
            yield group
            group, held = [], 0
        group.append(content)
        held += size
    if group:
        yield group


def _pixels(content: bytes | str) -> int:
    """Number of pixels that the header tells; 0 for what is no image."""
    if isinstance(content, str):
        return 0
    try:
        with Image.open(BytesIO(content)) as image:
            return image.width * image.height
    except Exception:  # PIL's readers raise anything on damaged bytes; decoding tells what is wrong
        return 0


def _decode_all(group: Sequence[bytes | str]) -> list[ImageArray | str]:
    if sum(map(len, group)) > _WORTH_A_THREAD * len(group):
        return list(map_threads(_decode, group))
    return list(map(_decode, group))


def _decode(content: bytes | str) -> ImageArray | str:
    if isinstance(content, str):
        return content
    try:
        return decode(content)
    except UnreadableImageError as error:
        return str(error)
