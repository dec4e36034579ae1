"""Labelled images of two splits, with the names, groups and captions that prompts are made from."""

from fused_clip.dataset.base import Captions, ImageDataset, Images, Split
from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.embedded import digits, mnist_5k
from fused_clip.dataset.folder import imagefolder
from fused_clip.dataset.hub_set import hub
from fused_clip.dataset.listing import csv
from fused_clip.dataset.recipe import Recipe, RecipeOptions
from fused_clip.dataset.vector_set import embeddings
from fused_clip.dataset.vectors import Vectors

__all__ = [
    "Captions",
    "ImageDataset",
    "Images",
    "Labelled",
    "Recipe",
    "RecipeOptions",
    "Split",
    "Vectors",
    "csv",
    "digits",
    "embeddings",
    "hub",
    "imagefolder",
    "mnist_5k",
]
