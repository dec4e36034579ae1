"""A backbone for precomputed embeddings, which looks up the vectors of texts."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.errors import InputError


class UnknownTextError(InputError):
    """A text without a precomputed embedding."""


class Precomputed:
    """Text vectors that come with a dataset of image vectors.

    Parameters
    ----------
    dataset : from `fused_clip.dataset.embeddings`.
    """

    name = "precomputed"
    batch_size = 1
    trained_on: frozenset[str] = frozenset()
    labelled_classes: frozenset[str] = frozenset()  # what made the vectors is not known
    vocabulary: frozenset[str] | None = None
    language: str | None = None

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def check(self) -> None:
        """Refuse a dataset of images."""
        self.dim  # noqa: B018  a property that checks

    @property
    def dim(self) -> int:
        """Width of the dataset's vectors."""
        images = self.dataset.train.images
        if not isinstance(images, Vectors):
            rule = "'precomputed' needs a dataset of vectors, such as dataset=embeddings"
            raise InputError("backbone", rule, self.dataset.name)
        return images.dim

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the texts and their vectors."""
        digest = hashlib.sha256(str(self.dim).encode())
        for text in sorted(self.dataset.texts):
            digest.update(hashlib.sha256(text.encode()).digest())
            digest.update(self.dataset.texts[text].tobytes())
        return digest.hexdigest()

    def load(self) -> None:
        """Do nothing."""

    def prepare(self, images: Sequence[ImageArray]) -> NoReturn:
        """Raise InputError: there is no model."""
        raise InputError("backbone", "'precomputed' can't embed images: name the model that made the vectors")

    def encode_prepared(self, prepared: Sequence[Any]) -> NoReturn:
        """Raise InputError: there is no model."""
        self.prepare(prepared)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Look up p texts: (p, dim); UnknownTextError names one that is missing."""
        for text in texts:
            if text not in self.dataset.texts:
                rule = "a prompt's vector must come with the data where backbone=precomputed"
                hint = (
                    "Name the backbone that made the vectors, e.g. backbone=vit_b_32, or use the texts of the"
                    " data as prompts, e.g. 'dataset.captions.task=\"{}\"'"
                )
                raise UnknownTextError("prompt", rule, text, choices=self.dataset.texts, hint=hint)
        empty = np.empty((0, self.dim), np.float32)
        return np.stack([self.dataset.texts[text] for text in texts]) if texts else empty
