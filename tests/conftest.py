"""Small sets whose right answers are known, shared by the tests."""

import gc
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # threads of workers side by side would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    gc.set_threshold(50_000)  # tests make few cycles, and imports none
os.environ.setdefault("FUSED_CLIP_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "fused_clip"))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started by a shell in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin

import fused_clip.runner.config  # noqa: F401  registers the schema that every configuration starts from
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.dataset.options import Captions
from tests.forks import Commands, shared

IntArray = NDArray[np.int64]


def pytest_collection_finish() -> None:
    """Keep the garbage collector off the million objects that imports have made."""
    gc.collect()
    gc.freeze()


# A loaded machine is no defect of the code.
settings.register_profile("fused_clip", deadline=None)
settings.load_profile("fused_clip")


@dataclass(frozen=True)
class ArrayRows:
    """Images that stand for rows of a matrix of embeddings."""

    name: str
    count: int

    @property
    def fingerprint(self) -> str:
        return f"{self.name}-{self.count}"

    def __len__(self) -> int:
        return self.count

    def read(self, rows: IntArray) -> list[NDArray[np.uint8]]:
        return [np.full((4, 4, 3), row % 256, dtype=np.uint8) for row in rows]

    def ids(self, rows: IntArray) -> list[str]:
        return [f"{self.name}/{row}" for row in rows]


def make_dataset(
    labels: Sequence[Sequence[int]],
    class_names: Sequence[str] = ("cat", "dog", "truck"),
    groups: dict[str, str] | None = None,
    **kwargs: object,
) -> ImageDataset:
    """A dataset with the given (train, test) labels; its images are told apart by their row alone."""
    splits = [
        Split(ArrayRows(name, len(part)), np.arange(len(part)), np.array(part), f"toy/{name}")
        for name, part in zip(("train", "test"), labels, strict=True)
    ]
    if groups is None:
        groups = {"cat": "animal", "dog": "animal", "truck": "vehicle"}
    return ImageDataset("toy", splits[0], splits[1], tuple(class_names), groups, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def toy() -> ImageDataset:
    """Three classes in two groups, 40 training and 20 test images a class."""
    captions = Captions(hierarchical="This is {a} {} {group}")
    return make_dataset([np.repeat(range(3), 40), np.repeat(range(3), 20)], captions=captions)


@dataclass(frozen=True)
class Blobs:
    """Gaussian blobs, one a class: (n, d) train and (m, d) test rows with their classes."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    train_targets: IntArray
    test_targets: IntArray
    texts: NDArray[np.float32]


def make_blobs(n_classes: int = 3, n_train: int = 40, n_test: int = 20, spread: float = 0.5) -> Blobs:
    """Blobs in 16 dimensions around random means, and one random text row a class."""
    rng = np.random.default_rng(7)
    means = rng.normal(size=(n_classes, 16)) * 2

    def draw(count: int) -> tuple[NDArray[np.float32], IntArray]:
        targets = np.repeat(np.arange(n_classes), count)
        rows = means[targets] + spread * rng.normal(size=(len(targets), 16))
        return rows.astype(np.float32), targets

    train, train_targets = draw(n_train)
    test, test_targets = draw(n_test)
    texts = (means + rng.normal(size=means.shape)).astype(np.float32)
    return Blobs(train, test, train_targets, test_targets, texts)


class Fixed(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Gives the partition that it was made with."""

    def __init__(self, clusters: object) -> None:
        self.clusters = clusters

    def fit_predict(self, X: object, y: object = None) -> object:
        return self.clusters


@pytest.fixture
def blobs() -> Blobs:
    """Three well separated blobs."""
    return make_blobs()


@pytest.fixture(scope="session")
def commands() -> Commands:
    """Runs commands of the package in forks of one warm process."""
    return shared()
