"""Any open_clip model as a backbone, loaded at the first encoding."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fused_clip.backbone.base import FreeContext
from fused_clip.backbone.learnable import check_clip_text, clip_context
from fused_clip.backbone.model_source import ModelSource, find_source
from fused_clip.backbone.open_clip_import import load_open_clip
from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.backbone.towers import TEXT_BATCH, TwoTowerBackbone, batches
from fused_clip.backbone.weights import OPTION
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch


_LIBRARIES = ("open_clip_torch", "pillow", "timm", "torch", "torchvision")


class OpenClipBackbone(TwoTowerBackbone):
    """The image and text towers of an open_clip model.

    Nothing is loaded before the first encoding. `fingerprint`, `dim` and `check` import torch only for
    open_clip's own architectures. Batches are padded to one shape, so that an embedding does not depend on
    how many others are embedded with it.

    Parameters
    ----------
    model : a model that ships with the package (``compact``), ``local-dir:<folder>`` with
        ``open_clip_config.json`` and ``open_clip_model.safetensors``, ``hf-hub:<owner>/<name>``, or the
        name of an open_clip architecture.
    pretrained : an open_clip tag or a local ``.safetensors`` file; None for a model with its own weights.
        `fused_clip.backbone.convert` makes such a file of OpenAI's ``.pt``.
        A local file does not state its activation: choose a ``-quickgelu`` `model` if it needs QuickGELU.
    preprocessing : ``model`` for the model's own; ``paper`` squashes to the input size, bilinear.
    precision : of weights and input; ``auto`` is bfloat16 where the hardware supports it.
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
    batch_size : images in one pass.
    jpeg : ``reduced`` decodes a JPEG at 1/2, 1/4 or 1/8 of its size as long as its short side keeps twice the
        pixels of the model's input; ``whole`` decodes all its pixels.
    """

    def check(self) -> None:
        """Raise InputError if device, model or weights can not work; reads only headers."""
        if self._needs_transformers and not importlib.util.find_spec("transformers"):
            rule = "needs the package transformers for its text tower or tokenizer"
            raise InputError("backbone.model", rule, self.model, hint="pip install transformers")
        self._source.check()
        self._check_precision()

    @property
    def name(self) -> str:
        """Short name for titles: the model, and its weights unless it has its own."""
        return self._source.label

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self._source.config["embed_dim"])

    @property
    def training(self) -> dict[str, Any]:
        """Contents of ``training.json`` next to the weights; empty without one."""
        return dict(self._source.training)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Packages whose version may change the bytes of an embedding."""
        return (*_LIBRARIES, "transformers") if self._needs_transformers else _LIBRARIES

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of architecture, weights and preprocessing: equal for the same model on any machine."""
        architecture = json.dumps(dict(self._source.config), sort_keys=True)
        return {
            "architecture": hashlib.sha256(architecture.encode()).hexdigest(),
            "weights": self._source.weights.sha256(),
            "pixels": repr(self._preprocessing),
        }

    @property
    def files(self) -> tuple[Path, ...]:
        """Files on this machine that it is made from."""
        return self._source.files

    @property
    def record(self) -> dict[str, str]:
        """Facts for a run's record: `identity`, precision, and the hash that converted weights had before."""
        source = self._source.training.get("source_sha256")
        origin = {} if source is None else {"converted_from": str(source)}
        return super().record | origin

    def load(self) -> None:
        """Load the model now; InputError if its weights are missing, damaged or of another model."""
        self._towers  # noqa: B018  a cached property

    def prepare(self, images: Sequence[ImageArray]) -> torch.Tensor:
        """Turn n images of any sizes into the model's input, (n, 3, height, width)."""
        return self._preprocessing(images, device=self._device, dtype=self._torch_dtype)

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> FloatArray:
        """Embed the images of several calls of `prepare`: (n, dim), as `encode_images` does."""
        import torch

        pixels = prepared[0] if len(prepared) == 1 else torch.cat(list(prepared))
        towers = self._towers  # loaded in inference mode, weights would have no gradients for `free_context`

        def tower(pixels: torch.Tensor) -> Any:
            return towers.encode_image(pixels.contiguous(memory_format=torch.channels_last))

        return self._encode_images(tower, batches(pixels, self.batch_size), self.batch_size)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim), not normalised; InputError if one exceeds the model's context."""
        if not texts:
            return np.empty((0, self.dim), np.float32)
        tokens = self._tokens(list(texts)).to(self._device)
        return self._encode_texts(self._towers.encode_text, batches(tokens, TEXT_BATCH))

    def check_context(self, context: str, names: Sequence[str]) -> None:
        """Raise InputError for a text tower that is not CLIP's own, or texts that are too long."""
        check_clip_text(self._source.config["text_cfg"], self.name)
        self._tokens([f"{context} {name}" for name in names])

    def free_context(self, context: str, names: Sequence[str]) -> FreeContext:
        """Free the vectors of `context` in the texts ``"<context> <name>"``: see `LearnableTexts`."""
        self.check_context(context, names)
        tokens = self._tokens([context, *(f"{context} {name}" for name in names)]).to(self._device)
        return clip_context(self._towers, tokens[1:], int(tokens[0].argmax()) - 1)

    def _tokens(self, texts: list[str]) -> torch.Tensor:
        """Token ids (p, context); an error where open_clip's tokenizers would truncate silently."""
        import torch

        tokenizer = self._tokenizer
        tokens: torch.Tensor = tokenizer(texts)
        limit = tokens.shape[1]
        longer = 2 * max(len(text.encode()) for text in texts) + limit  # a token takes a byte or more
        uncut = tokenizer(texts, context_length=longer)
        blank = torch.mode(tokenizer([""], context_length=longer)[0]).values
        lengths = (uncut != blank).sum(1)
        for text, length, kept in zip(texts, lengths, (tokens != blank).sum(1), strict=True):
            if length > kept:
                rule = f"must fit the {limit} tokens that {self.name} reads, and has {int(length)}"
                raise InputError("prompt", rule, text)
        return tokens

    @cached_property
    def _source(self) -> ModelSource:
        return find_source(self.model, self.pretrained)

    @property
    def _needs_transformers(self) -> bool:
        text = self._source.config["text_cfg"]
        return "hf_model_name" in text or "hf_tokenizer_name" in text

    @property
    def _open_clip(self) -> Any:
        return load_open_clip(transformers=self._needs_transformers)

    @cached_property
    def _preprocessing(self) -> Preprocessing:
        own = Preprocessing.from_config(self._source.image_size, self._source.pixels)
        return own.as_in_paper() if self.preprocessing == "paper" else own

    @property
    def _input(self) -> Preprocessing:
        return self._preprocessing

    @cached_property
    def _tokenizer(self) -> Any:
        """The open_clip tokenizer: to make one unpacks its vocabulary, in some 40 ms."""
        return self._open_clip.get_tokenizer(self._source.open_clip_name)

    @cached_property
    def _towers(self) -> Any:
        """The open_clip model, ready to encode."""
        source = self._source
        weights = source.weights.fetch()
        source.check()
        open_clip = self._open_clip
        import torch
        from safetensors import SafetensorError

        folder = source.open_clip_name.startswith("local-dir:")
        try:
            model = open_clip.create_model(
                source.open_clip_name,
                pretrained=None if folder else str(weights),
                precision="bf16" if self._precision == "bfloat16" else "fp32",
                device=self._device,
                # Else a folder that can't be listed gives random weights, and a warning of open_clip alone.
                require_pretrained=not folder or self.pretrained is None,
            )
            if folder and self.pretrained is not None:
                open_clip.load_checkpoint(model, str(weights))
        except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
            rule = f"weights must be those of {source.label} ({' '.join(str(error).split())[:300]})"
            raise InputError(OPTION, rule, str(weights)) from error
        return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
