"""Embed images and texts batch by batch, with read-ahead, a progress bar and a check of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import RLock
from typing import Any

import numpy as np

from fused_clip.backbone.base import Backbone, reduced_side
from fused_clip.dataset.image_dataset import Images, ReducibleImages
from fused_clip.dataset.reading import prepare_many
from fused_clip.support.arrays import FloatArray, ImageArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.overlap import read_ahead


def embed_images(
    backbone: Backbone, images: Images, blocks: Sequence[IntArray | range], *, done: int = 0, title: str = ""
) -> Iterator[FloatArray]:
    """Embed blocks of rows one after the other, in constant memory.

    The next batches are read and prepared while the model computes. On a terminal a bar shows progress.

    Parameters
    ----------
    backbone : embeds the images.
    images : all images.
    blocks : rows of `images`; all but the last should be whole batches.
    done : images embedded earlier, for the bar.
    title : label of the bar; by default the backbone's name.

    Yields
    ------
    (len(block), dim) for each block; InputError names an image whose row is not finite or is zero.
    """
    from tqdm import tqdm

    side, size = reduced_side(backbone), backbone.batch_size
    if side is not None and isinstance(images, ReducibleImages):
        images = images.reduced(side)
    batches = [[block[i : i + size] for i in range(0, len(block), size)] for block in blocks]
    total = done + sum(len(block) for block in blocks)

    def read(batch: IntArray | range) -> tuple[list[Any], list[ImageArray]]:
        return prepare_many(images.read(np.asarray(batch)), backbone.prepare)

    tqdm.set_lock(RLock())  # its own lock leaves a semaphore behind in a process that is killed
    with (
        closing(read_ahead(read, (batch for block in batches for batch in block))) as ahead,
        tqdm(total=total, initial=done, desc=title or backbone.name, unit="image", disable=None) as bar,
    ):
        for block in batches:
            rows = [np.empty((0, backbone.dim), np.float32)]
            for batch in block:
                prepared, rest = next(ahead)
                # Here, not in the thread that reads: its work with torch would take turns with the model's.
                prepared += [backbone.prepare(rest)] if rest else []
                rows.append(backbone.encode_prepared(prepared))
                for bad in bad_rows(rows[-1]):
                    name = images.ids(np.asarray(batch[bad : bad + 1]))[0]
                    hint = "Try backbone.precision=float32, or look at the image"
                    rule = f"embeddings must be finite and not zero; not so for {name}"
                    raise InputError("backbone", rule, hint=hint)
                bar.update(len(batch))
            yield np.concatenate(rows)


def embed_texts(backbone: Backbone, texts: Sequence[str]) -> FloatArray:
    """Embed p texts: (p, dim); InputError names a text whose row is not finite or is zero.

    Parameters
    ----------
    backbone : embeds the texts.
    texts : p prompts.
    """
    rows = backbone.encode_texts(texts)
    for i in bad_rows(rows):
        raise InputError("backbone", f"embeddings must be finite and not zero; not so for {texts[i]!r}")
    return rows


def bad_rows(rows: FloatArray) -> list[int]:
    """Find rows that are not finite or are zero.

    Parameters
    ----------
    rows : (n, d) embeddings.
    """
    good = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return np.flatnonzero(~good).tolist()
