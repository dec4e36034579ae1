"""Labelled images of two splits, with the names, groups and captions that prompts are made from."""

from fused_clip.dataset.base import Captions, ImageDataset, Images, Split
from fused_clip.dataset.embedded import digits, mnist_5k
from fused_clip.dataset.folder import imagefolder
from fused_clip.dataset.hub_set import hub

__all__ = ["Captions", "ImageDataset", "Images", "Split", "digits", "hub", "imagefolder", "mnist_5k"]
