"""What every backbone offers: images and texts -> rows of one width."""

from collections.abc import Sequence
from typing import Any, Protocol

from fused_clip.support.arrays import FloatArray, ImageArray


class Backbone(Protocol):
    """An embedding model with an image side and a text side."""

    @property
    def name(self) -> str:
        """Short name for titles."""

    @property
    def dim(self) -> int:
        """Width of the embeddings."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that changes an embedding's bytes."""

    @property
    def batch_size(self) -> int:
        """Images in one pass."""

    @property
    def trained_on(self) -> frozenset[str]:
        """Origins (``cifar10/train``) of the labelled images that it was trained on."""

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Words that it was trained on; None where that is not known."""

    def check(self) -> None:
        """Refuse a model that could not work, before anything is loaded."""

    def load(self) -> None:
        """Load the model, so that the first encoding takes no longer than the others."""

    def prepare(self, images: Sequence[ImageArray]) -> Any:
        """Turn (height, width, 3) uint8 images into model input, which is small whatever their sizes.

        Parameters
        ----------
        images : n images of any sizes.
        """

    def encode_prepared(self, prepared: Sequence[Any]) -> FloatArray:
        """Embed the images of several calls of `prepare`: (n, dim).

        Parameters
        ----------
        prepared : what `prepare` returned, in the order of the images.
        """

    def encode_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Embed n (height, width, 3) uint8 images of any sizes: (n, dim).

        Parameters
        ----------
        images : n images.
        """

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim).

        Parameters
        ----------
        texts : prompts.
        """
