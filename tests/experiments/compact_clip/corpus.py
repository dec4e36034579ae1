"""Small corpora of noise in the place of MNIST and CIFAR."""

import random
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compact_clip.captions import Concepts
from experiments.compact_clip.data import COLUMNS, Split
from experiments.compact_clip.settings import Settings

STAGES = [{"epochs": 1, "image_size": 32}, {"epochs": 1, "image_size": 40, "restart": 1e-3}]

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


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a run of moments."""
    small = {"output_dir": folder, "stages": STAGES, "batch_size": 24, "mnist_per_epoch": 16, "holdout": 4}
    return Settings.model_validate(small | changes)


def write_mirror(folder: Path, splits: list[Split], part: str = "train") -> Path:
    """Write splits as ``<folder>/<set>/<part>-*.parquet``, as the hub has them."""
    import datasets

    for split in splits:
        image_column, *label_columns = COLUMNS[split.name]
        labels = [(split.labels, split.class_names), (split.superclasses, split.superclass_names)]
        rows: dict[str, Any] = {image_column: list(split.images)}
        features: dict[str, Any] = {image_column: datasets.Image()}
        for column, (values, names) in zip(label_columns, labels, strict=False):
            rows[column], features[column] = values, datasets.ClassLabel(names=list(names))
        table = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
        (folder / split.name).mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / split.name / f"{part}-00000-of-00001.parquet")
    return folder
