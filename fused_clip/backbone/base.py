"""The protocol of backbones."""

from collections.abc import Sequence
from typing import Any, Protocol

from fused_clip.support.arrays import FloatArray, ImageArray


class Backbone(Protocol):
    """A model that embeds images and texts in one space."""

    @property
    def name(self) -> str:
        """Short name for titles."""

    @property
    def dim(self) -> int:
        """Width of the embeddings."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes an embedding's bytes."""

    @property
    def trained_on(self) -> frozenset[str]:
        """Origins (``cifar10/train``) of the labelled images in the training data, as far as known."""

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Words in the training data; None if unknown."""

    @property
    def batch_size(self) -> int:
        """Images in one pass."""

    def check(self) -> None:
        """Check options, files and device in seconds, without loading the model.

        Raises
        ------
        InputError
            If encoding would fail.
        """

    def load(self) -> None:
        """Load the model, so that the first encoding takes no longer than the others."""

    def prepare(self, images: Sequence[ImageArray]) -> Any:
        """Turn (height, width, 3) uint8 images of any sizes into model input, whose size is fixed."""

    def encode_prepared(self, prepared: Sequence[Any]) -> FloatArray:
        """Embed the n images of several results of `prepare`: (n, dim)."""

    def encode_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Embed n (height, width, 3) uint8 images of any sizes: (n, dim)."""

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim)."""
