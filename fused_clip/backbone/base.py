"""The protocols of backbones: images and texts to embeddings of one width, and text with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fused_clip.support.arrays import FloatArray, ImageArray

if TYPE_CHECKING:
    import torch


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


@runtime_checkable
class ReducesImages(Protocol):
    """A backbone for which large JPEGs may be decoded at reduced size."""

    @property
    def reduced_side(self) -> int | None:
        """Pixels that the short side of a reduced JPEG must keep; None: none is reduced."""


def reduced_side(backbone: object) -> int | None:
    """Pixels that the short side of a reduced JPEG must keep for a backbone; None: none is reduced.

    Parameters
    ----------
    backbone : any; one that states nothing gets whole images.
    """
    return backbone.reduced_side if isinstance(backbone, ReducesImages) else None


@dataclass(frozen=True)
class FreeContext:
    """Texts that start with the same tokens, whose vectors may be replaced.

    Parameters
    ----------
    vectors : (c, width) float32 vectors of these tokens, before positions are added.
    encode : (c, width) vectors in their place -> (p, dim) float32 rows of the texts, with gradients; the
        tokens' own vectors give the rows of `Backbone.encode_texts`, up to rounding.
    """

    vectors: torch.Tensor
    encode: Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class LearnableTexts(Protocol):
    """A backbone whose text tower has gradients: contexts of its texts can be learnt."""

    def check_context(self, context: str, names: Sequence[str]) -> None:
        """Raise InputError for a tower without gradients or texts that are too long; loads no weights.

        Parameters
        ----------
        context : words before each name.
        names : the ends of the texts.
        """

    def free_context(self, context: str, names: Sequence[str]) -> FreeContext:
        """Free the vectors of `context` in the texts ``"<context> <name>"``.

        Parameters
        ----------
        context : words before each name.
        names : the ends of p texts.
        """
