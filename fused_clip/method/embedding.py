"""Embeddings of a run: images of both splits, prompts, and words of a clusterer."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.base import clone

from fused_clip.backbone.base import Backbone
from fused_clip.dataset.image_dataset import ImageDataset, Images
from fused_clip.method.prompt import Prompts
from fused_clip.method.text import ensemble
from fused_clip.method.words import wants_words, words_of
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError


class Embedder(Protocol):
    """The part of `fused_clip.store.Store` that the pipeline uses."""

    def images(self, backbone: Backbone, images: Images, rows: IntArray, *, title: str = "") -> FloatArray:
        """Embed rows of a parent split: (n, d).

        Parameters
        ----------
        backbone : embeds the images.
        images : the parent split.
        rows : (n,) rows of it.
        title : of the progress bar.
        """

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, d).

        Parameters
        ----------
        backbone : embeds the texts.
        texts : p texts.
        """


class Embedded(NamedTuple):
    """(n, d) training images, (m, d) test images, (p, d) prompts, the texts of each, calibration images."""

    train: FloatArray
    test: FloatArray
    prompts: FloatArray
    members: Sequence[FloatArray]
    calibration: FloatArray | None = None


def embed(dataset: ImageDataset, prompts: Prompts, backbone: Backbone, embedder: Embedder) -> Embedded:
    """Embed the prompts first, which finds a text that is too long at once, then the splits.

    Parameters
    ----------
    dataset : images of two splits.
    prompts : made for the dataset.
    backbone : embeds both.
    embedder : keeps embeddings.
    """
    members = embed_members(prompts, backbone, embedder)
    texts = _averaged(prompts, members, backbone)
    train, test, *held_out = (
        embedder.images(backbone, split.images, split.rows, title=f"{backbone.name}, {name} images")
        for name, split in zip(("train", "test", "calibration"), dataset.splits, strict=False)
    )
    return Embedded(train, test, texts, members, held_out[0] if held_out else None)


def embed_prompts(prompts: Prompts, backbone: Backbone, embedder: Embedder) -> FloatArray:
    """Embed prompts: (p, d), the texts of an ensemble averaged; (0, 0) without text.

    Parameters
    ----------
    prompts : p prompts, each one or several texts.
    backbone : embeds them.
    embedder : keeps embeddings.

    Raises
    ------
    InputError
        If two prompts have the same embedding: no image could be nearer to one of them.
    """
    return _averaged(prompts, embed_members(prompts, backbone, embedder), backbone)


def embed_members(prompts: Prompts, backbone: Backbone, embedder: Embedder) -> list[FloatArray]:
    """Embed the texts of each prompt: p arrays (m, d).

    Parameters
    ----------
    prompts : p prompts, each one or several texts.
    backbone : embeds them.
    embedder : keeps embeddings.
    """
    if not prompts.texts:
        return []
    rows = embedder.texts(backbone, [text for texts in prompts.texts for text in texts])
    return np.split(rows, np.cumsum([len(texts) for texts in prompts.texts])[:-1])


def embed_words(clusterer: Any, backbone: Backbone, embedder: Embedder) -> Any:
    """Give a clusterer that looks images up in words the embeddings of those that the backbone knows.

    Parameters
    ----------
    clusterer : not fitted; returned as it is if it has no words, or their rows already.
    backbone : embeds the words.
    embedder : keeps embeddings.

    Raises
    ------
    InputError
        If the words can't be read or embedded.
    """
    if not wants_words(clusterer):
        return clusterer
    found = words_of(clusterer, backbone)
    rows = embedder.texts(backbone, found.texts)
    return clone(clusterer).set_params(words=list(found.words), word_rows=rows)


def _averaged(prompts: Prompts, members: Sequence[FloatArray], backbone: Backbone) -> FloatArray:
    if not members:
        return np.empty((0, 0), dtype=np.float32)
    rows = np.stack([ensemble(part) for part in members])
    _, first, row_of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    for own, same in enumerate(first[row_of.ravel()]):
        if same != own:
            rule = f"must be told apart by the backbone, and {backbone.name} embeds these alike"
            hint = "It may ignore case, or not know the script"
            raise InputError("prompt", rule, [prompts.texts[same][0], prompts.texts[own][0]], hint=hint)
    return rows
