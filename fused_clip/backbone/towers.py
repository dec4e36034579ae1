"""What backbones with an image tower and a text tower have in common."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fused_clip.backbone.device import Precision, choose_device, choose_precision, kernels
from fused_clip.backbone.passes import OPTION, ImagePasses, Tower, padded_pass
from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch


TEXT_BATCH = 16
MOST = 65_536  # images in one pass
_COMPUTATION = 4  # raised when a change of the code changes the bytes of embeddings


class TwoTowerBackbone(ABC):
    """Device, precision, batches and fingerprint of a model that embeds images and texts.

    Nothing is loaded before the first encoding. Batches are padded to one shape, so that an embedding does
    not depend on how many others are embedded with it.

    Parameters
    ----------
    model : name by which a saved model finds the backbone again.
    pretrained : its weights; None for its own.
    preprocessing : ``model`` for the model's own; ``paper`` squashes to the input size, bilinear.
    precision : of weights and input; ``auto`` is bfloat16 where the hardware supports it.
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
    batch_size : images in one pass, at most 65,536.
    jpeg : ``reduced`` decodes a JPEG at 1/2, 1/4 or 1/8 of its size as long as its short side keeps twice the
        pixels of the model's input; ``whole`` decodes all its pixels.

    Raises
    ------
    InputError
        If a value is not one of these.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        preprocessing: Literal["model", "paper"] = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        batch_size: int = 64,
        jpeg: Literal["reduced", "whole"] = "reduced",
    ) -> None:
        _one_of("preprocessing", preprocessing, ("model", "paper"))
        _one_of("precision", precision, ("auto", "float32", "bfloat16"))
        _one_of("jpeg", jpeg, ("reduced", "whole"))
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= MOST:
            raise InputError(OPTION, f"must be a number from 1 to {MOST}", batch_size)
        self.model = model
        self.pretrained = pretrained
        self.preprocessing = preprocessing
        self.precision = precision
        self.device = device
        self.batch_size = batch_size
        self.jpeg = jpeg

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for titles."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the embeddings."""

    @property
    def reduced_side(self) -> int | None:
        """Pixels that the short side of a reduced JPEG keeps at least; None: none is reduced."""
        return self._input.reduced_side if self.jpeg == "reduced" else None

    @property
    @abstractmethod
    def _input(self) -> Preprocessing:
        """Preprocessing of the largest input."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Hashes of architecture and weights, and preprocessing: the same model on any machine."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files on this machine that it is made from, and no hash is stated of."""
        return ()

    @property
    def record(self) -> dict[str, str]:
        """Facts for a run's record: `identity` and precision."""
        return {**self.identity, "precision": self._precision}

    @property
    @abstractmethod
    def libraries(self) -> Sequence[str]:
        """Packages whose version may change the bytes of an embedding."""

    @property
    @abstractmethod
    def training(self) -> dict[str, Any]:
        """What is stated of the training of the weights: contents of ``training.json``."""

    @abstractmethod
    def check(self) -> None:
        """Raise InputError if device, model or weights can not work."""

    @abstractmethod
    def load(self) -> None:
        """Load the model now."""

    @abstractmethod
    def prepare(self, images: Sequence[ImageArray]) -> Any:
        """Turn n images of any sizes into the model's input, as a sequence of one item an image."""

    @abstractmethod
    def encode_prepared(self, prepared: Sequence[Any]) -> FloatArray:
        """Embed the images of several calls of `prepare`: (n, dim)."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim)."""

    @property
    def trained_on(self) -> frozenset[str]:
        """Labelled data that the weights were trained on, by their own statement."""
        return frozenset(self.training.get("trained_on", ()))

    @property
    def labelled_classes(self) -> frozenset[str]:
        """Classes and groups whose labels the weights were trained on: ``classes`` and ``groups`` stated."""
        of_sets = self.training.get("classes", {}).values()
        return frozenset(name for names in (*of_sets, self.training.get("groups", ())) for name in names)

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Words that the text tower was trained on; None if unknown."""
        words = self.training.get("vocabulary")
        return None if words is None else frozenset(words)

    @property
    def language(self) -> str | None:
        """Language of the texts that it was trained on; None if unknown."""
        return self.training.get("language")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what changes the bytes of an embedding, library versions included.

        The number of threads is left out: in float32, convolutions differ by it in the last bits (4e-7).
        """
        facts = {
            "identity": self.identity,
            "precision": self._precision,
            "device": self._device.partition(":")[0],
            "kernels": kernels(self._device),
            "batch": [self.batch_size, TEXT_BATCH],
            "computation": _COMPUTATION,
            "libraries": {name: version(name) for name in self.libraries},
            **({} if self.jpeg == "whole" else {"jpeg": self.jpeg}),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def encode_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Embed n (height, width, 3) uint8 images of any sizes: (n, dim).

        Parameters
        ----------
        images : n images.
        """
        rows = [np.empty((0, self.dim), np.float32)]
        rows += [self.encode_prepared([self.prepare(batch)]) for batch in batches(images, self.batch_size)]
        return np.concatenate(rows)

    def _encode_texts(self, tower: Tower, several: Iterable[torch.Tensor]) -> FloatArray:
        """Run a tower on batches of at most `TEXT_BATCH` texts."""
        import torch

        rows = [np.empty((0, self.dim), np.float32)]
        with torch.inference_mode():
            rows += [padded_pass(tower, batch, TEXT_BATCH) for batch in several]
        return np.concatenate(rows)

    def _encode_images(self, tower: Tower, several: Iterable[torch.Tensor], size: int) -> FloatArray:
        """Run a tower on batches of at most `size` images; InputError if the device's memory is too small."""
        import torch

        rows = [np.empty((0, self.dim), np.float32)]
        with torch.inference_mode():
            rows += [self._passes.embed(tower, batch, size) for batch in several]
        return np.concatenate(rows)

    def _check_precision(self) -> None:
        choose_precision(self.precision, self._device)

    @cached_property
    def _passes(self) -> ImagePasses:
        return ImagePasses(self._device)

    @cached_property
    def _device(self) -> str:
        return choose_device(self.device)

    @cached_property
    def _precision(self) -> Precision:
        return choose_precision(self.precision, self._device)

    @property
    def _torch_dtype(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self._precision == "bfloat16" else torch.float32


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"backbone.{name}", "is not known", value, choices=choices)


def batches(rows: Any, size: int) -> Iterator[Any]:
    """Cut rows into slices of `size`; the last may be shorter.

    Parameters
    ----------
    rows : anything with a length and slices.
    size : rows of a slice.
    """
    return (rows[i : i + size] for i in range(0, len(rows), size))
