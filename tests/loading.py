"""Datasets from keywords: the shared options among them make the recipe, with the columns of their YAML."""

from typing import Any

from fused_clip import dataset
from fused_clip.dataset import ImageDataset, Recipe

COLUMNS = {
    "csv": {"image_column": "path"},
    "embeddings": {"label_column": "labels"},
    "webdataset": {"label_column": "cls"},
}


def load(function: str, **options: Any) -> ImageDataset:
    """Make a dataset by the function of that name."""
    given = {"name": function, **COLUMNS.get(function, {}), **options}
    shared = {key: given.pop(key) for key in list(given) if key in Recipe.model_fields}
    made = getattr(dataset, function)(Recipe(**shared), **given)
    assert isinstance(made, ImageDataset)
    return made


def csv(**options: Any) -> ImageDataset:
    return load("csv", **options)


def digits(**options: Any) -> ImageDataset:
    return load("digits", **options)


def embeddings(**options: Any) -> ImageDataset:
    return load("embeddings", **options)


def hub(**options: Any) -> ImageDataset:
    return load("hub", **options)


def imagefolder(**options: Any) -> ImageDataset:
    return load("imagefolder", **options)


def mnist_5k(**options: Any) -> ImageDataset:
    return load("mnist_5k", **options)


def webdataset(**options: Any) -> ImageDataset:
    return load("webdataset", **options)
