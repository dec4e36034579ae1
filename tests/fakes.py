"""A backbone that computes next to nothing and counts what it was asked."""

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass
class FakeBackbone:
    """Embeds an image by its first pixel, a text by its hash.

    Parameters
    ----------
    seconds : time a batch takes.
    log : file that gets a line an image embedded, to count over processes.
    die_after : images after which the process kills itself; None: never.
    """

    name: str = "fake"
    fingerprint: str = "fake-1"
    dim: int = 5
    batch_size: int = 8
    seconds: float = 0.0
    log: str | None = None
    die_after: int | None = None
    trained_on: frozenset[str] = frozenset()
    labelled_classes: frozenset[str] = frozenset()
    vocabulary: frozenset[str] | None = None
    language: str | None = None
    batches: list[int] = field(default_factory=list)
    loads: int = 0

    def check(self) -> None:
        """Nothing can be wrong."""

    def load(self) -> None:
        self.loads += 1

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.encode_prepared([self.prepare(images)])

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([image[0, 0, 0] for image in images], np.float32).reshape(-1, 1)

    def encode_prepared(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        images = np.concatenate(prepared)
        if self.die_after is not None and sum(self.batches) >= self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        self.batches.append(len(images))
        if self.log:
            with Path(self.log).open("a") as file:
                file.write("image\n" * len(images))
        return self._rows(images)

    def _rows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.sqrt(images + np.arange(1, self.dim + 1, dtype=np.float32))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        hashes = [hashlib.sha256(text.encode()).digest()[: self.dim] for text in texts]
        return np.array([list(digest) for digest in hashes], np.float32) + 1


@dataclass
class PixelBackbone(FakeBackbone):
    """Embeds an image of 8 x 8 pixels by these, a text by noise that it seeds: enough to cluster digits."""

    dim: int = 64

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([image[..., 0].ravel() for image in images]).astype(np.float32)

    def _rows(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return images + 1

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()) for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds]).astype(
            np.float32
        )
