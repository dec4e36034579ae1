"""Small corpora of noise in the place of MNIST and CIFAR."""

import random

import numpy as np

from experiments.compact_clip.captions import Concepts
from experiments.compact_clip.data import Split

CONCEPTS = Concepts(
    ("airplane", "cat"), ("pickup_truck", "oak_tree", "crab"), ("vehicles_1", "trees", "fish"), (0, 1, 2)
)


def make_split(name: str, n: int, classes: tuple[str, ...], seed: int = 0) -> Split:
    """Noise images with labels in turn."""
    rng = np.random.default_rng(seed)
    shape = (n, 28, 28) if name == "mnist" else (n, 32, 32, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(n) % len(classes)
    if name != "cifar100":
        return Split(name, images, labels, classes)
    return Split(name, images, labels, classes, CONCEPTS.superclasses, labels.copy())


def make_splits() -> list[Split]:
    digits = tuple(str(d) for d in range(10))
    return [
        make_split("mnist", 40, digits, 1),
        make_split("cifar10", 24, CONCEPTS.cifar10, 2),
        make_split("cifar100", 24, CONCEPTS.cifar100, 3),
    ]


def many_captions(draws: int = 1500) -> list[set[str]]:
    """All captions of each concept over many draws."""
    rng = random.Random(0)
    return [set(texts) for texts in zip(*(CONCEPTS.captions(rng) for _ in range(draws)), strict=True)]
