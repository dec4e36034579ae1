"""The protocol of backbones: images and texts to embeddings of one width."""

from collections.abc import Sequence
from typing import Any, Protocol

from fused_clip.support.arrays import FloatArray, ImageArray


class Backbone(Protocol):
    """A model that embeds images and texts in the same space."""

    @property
    def name(self) -> str:
        """Short name for titles."""

    @property
    def dim(self) -> int:
        """Width of the embeddings."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that changes the bytes of an embedding."""

    @property
    def batch_size(self) -> int:
        """Images in one pass."""

    @property
    def trained_on(self) -> frozenset[str]:
        """Labelled data that it was trained on, such as ``cifar10/train``."""

    @property
    def labelled_classes(self) -> frozenset[str]:
        """Names of the classes, and groups of classes, whose labels it was trained on.

        As the data spell them; a name may list synonyms, separated by commas. Empty for a model that was
        trained without labels of classes, or that states none. `fused_clip.backbone.supervision` compares
        them with the classes of a run.
        """

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Words that it was trained on; None if unknown."""

    @property
    def language(self) -> str | None:
        """Language of the texts that it was trained on, such as ``English``; None if unknown."""

    def check(self) -> None:
        """Raise InputError for a model that can not work, before anything is loaded."""

    def load(self) -> None:
        """Load the model; otherwise the first encoding does."""

    def prepare(self, images: Sequence[ImageArray]) -> Any:
        """Turn (height, width, 3) uint8 images into model input, a sequence of one item an image.

        Parameters
        ----------
        images : n images.
        """

    def encode_prepared(self, prepared: Sequence[Any]) -> FloatArray:
        """Embed the images of several calls of `prepare`: (n, dim).

        Parameters
        ----------
        prepared : results of `prepare`, in the order of the images.
        """

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim).

        Parameters
        ----------
        texts : prompts.
        """
