"""Small data whose right answers are known: images of four classes, and a backbone that knows their names."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fused_clip.backbone.base import FreeContext
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.dataset.images import ArrayImages
from fused_clip.dataset.options import Captions
from fused_clip.method.parts import TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import Array, FloatArray, ImageArray, IntArray

if TYPE_CHECKING:
    import torch

CLASSES = ("cat", "dog", "car", "truck")
_GROUPS = {"cat": "animal", "dog": "animal", "car": "vehicle", "truck": "vehicle"}
_SIDE, _DIM = 8, 32
_TRAIN, _TEST = 40, 20  # images of each class


class SampleBackbone:
    """Embeds a text as the sum of a random vector for each word, and an image as its class would be.

    Its text tower has gradients: the vectors of a context are those of its words.
    """

    name = "sample"
    dim = _DIM
    fingerprint = hashlib.sha256(b"fused_clip.testing").hexdigest()
    batch_size = 16
    trained_on: frozenset[str] = frozenset()
    labelled_classes: frozenset[str] = frozenset()
    vocabulary: frozenset[str] | None = None
    language: str | None = None

    def check(self) -> None:
        """Nothing can be wrong."""

    def load(self) -> None:
        """Nothing is loaded."""

    def prepare(self, images: Sequence[ImageArray]) -> FloatArray:
        """Flatten images of the sample: (n, pixels)."""
        return np.stack([image[..., 0].ravel() for image in images]).astype(np.float32) / np.float32(255)

    def encode_prepared(self, prepared: Sequence[FloatArray]) -> FloatArray:
        """Embed images: (n, dim)."""
        names = np.stack([_vector(name) for name in CLASSES])
        weights = _patterns().T @ names + _noise()
        return np.asarray(np.concatenate(prepared) @ weights, dtype=np.float32)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts: (p, dim)."""
        return np.stack([np.sum([_vector(word) for word in text.split()], axis=0) for text in texts])

    def check_context(self, context: str, names: Sequence[str]) -> None:
        """Any context will do."""

    def free_context(self, context: str, names: Sequence[str]) -> FreeContext:
        """Free the vectors of the words of `context`."""
        import torch

        ends = torch.from_numpy(self.encode_texts(names))

        def encode(vectors: "torch.Tensor") -> "torch.Tensor":
            return ends + vectors.sum(0)

        return FreeContext(torch.from_numpy(np.stack([_vector(word) for word in context.split()])), encode)


@dataclass(frozen=True)
class SampleRows:
    """The sample embedded: (n, d) training and (m, d) test rows, their targets, and prompts of two texts.

    Parameters
    ----------
    train, test : rows of the images.
    targets, tested : class of each.
    prompts : an ensemble of two texts for each class.
    inputs : what a text part may use.
    """

    train: FloatArray
    test: FloatArray
    targets: IntArray
    tested: IntArray
    prompts: Prompts
    inputs: TextInputs

    @property
    def texts(self) -> FloatArray:
        """(p, d) rows of the prompts."""
        return self.inputs.texts


@cache
def sample_dataset() -> ImageDataset:
    """Images of 8 x 8 pixels, 40 training and 20 test images of each class."""
    rng = np.random.default_rng(0)
    train, test = (_split(name, count, rng) for name, count in (("train", _TRAIN), ("test", _TEST)))
    captions = Captions(
        task="a photo of {a} {}", grouped="a photo of {a} {}", hierarchical="a photo of {a} {} {group}"
    )
    return ImageDataset("sample", train, test, CLASSES, _GROUPS, captions, source="fused_clip.testing")


def sample() -> SampleRows:
    """Embed the sample, anew for each option: one may change the arrays that it is given."""
    dataset, backbone = sample_dataset(), SampleBackbone()
    train, test = (
        backbone.encode_prepared([backbone.prepare(split.images.read(split.rows))])  # type: ignore[arg-type]
        for split in (dataset.train, dataset.test)
    )
    each = np.arange(len(CLASSES))
    written = tuple((f"a photo of a {name}", f"a drawing of a {name}") for name in CLASSES)
    prompts = Prompts(written, CLASSES, each, each)
    members = [backbone.encode_texts(texts) for texts in written]
    rows = np.stack([one.mean(axis=0) for one in members])
    targets, tested = dataset.train.labels.copy(), dataset.test.labels.copy()
    inputs = TextInputs(rows, members, prompts, train, targets, backbone)
    return SampleRows(train, test, targets, tested, prompts, inputs)


def some_labels(targets: IntArray) -> IntArray:
    """Targets of which every second is unknown, -1.

    Parameters
    ----------
    targets : (n,) target of each row.
    """
    return np.where(np.arange(len(targets)) % 2 == 0, targets, -1)


def _split(name: str, count: int, rng: np.random.Generator) -> Split:
    labels = np.repeat(np.arange(len(CLASSES)), count)
    bright = 180 * (_patterns()[labels].reshape(-1, _SIDE, _SIDE) > 0)
    pixels = (bright + rng.integers(0, 70, bright.shape)).astype(np.uint8)
    return Split(ArrayImages(pixels, f"sample/{name}"), np.arange(len(labels)), labels, f"sample/{name}")


@cache
def _patterns() -> FloatArray:
    """(C, pixels) two bright lines for each class, of mean 1 over their pixels."""
    patterns = np.zeros((len(CLASSES), _SIDE, _SIDE), np.float32)
    for number, pattern in enumerate(patterns):
        pattern[2 * number : 2 * number + 2] = 1 / (2 * _SIDE)
    return patterns.reshape(len(CLASSES), -1)


@cache
def _noise() -> FloatArray:
    return np.random.default_rng(1).normal(0, 0.25, (_SIDE * _SIDE, _DIM)).astype(np.float32)


@cache
def _vector(word: str) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=_DIM).astype(np.float32)


def same(first: Array, second: Array, tolerance: float = 0.0) -> bool:
    """Whether two arrays have one shape and the same values, NaN and infinity included.

    Parameters
    ----------
    first, second : arrays.
    tolerance : relative and absolute.
    """
    if np.shape(first) != np.shape(second):
        return False
    return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True))
