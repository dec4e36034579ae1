"""Labelled images of two splits, with the names, groups and captions that prompts are made from.

The parts load when they are first used, so that options are checked without numpy and Pillow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fused_clip.dataset.classes import Labelled
    from fused_clip.dataset.embedded import digits, mnist_5k
    from fused_clip.dataset.folder import imagefolder
    from fused_clip.dataset.hub_set import hub
    from fused_clip.dataset.image_dataset import ImageDataset, Images, Split
    from fused_clip.dataset.listing import csv
    from fused_clip.dataset.options import Captions
    from fused_clip.dataset.recipe import Recipe
    from fused_clip.dataset.tar_set import webdataset
    from fused_clip.dataset.vector_set import embeddings
    from fused_clip.dataset.vectors import Vectors

_HOMES = {
    "Captions": "options",
    "ImageDataset": "image_dataset",
    "Images": "image_dataset",
    "Labelled": "classes",
    "Recipe": "recipe",
    "Split": "image_dataset",
    "Vectors": "vectors",
    "csv": "listing",
    "digits": "embedded",
    "embeddings": "vector_set",
    "hub": "hub_set",
    "imagefolder": "folder",
    "mnist_5k": "embedded",
    "webdataset": "tar_set",
}

__all__ = [
    "Captions",
    "ImageDataset",
    "Images",
    "Labelled",
    "Recipe",
    "Split",
    "Vectors",
    "csv",
    "digits",
    "embeddings",
    "hub",
    "imagefolder",
    "mnist_5k",
    "webdataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
