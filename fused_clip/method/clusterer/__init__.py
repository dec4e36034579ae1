"""Clusterers that scikit-learn lacks or is too slow at."""

from fused_clip.method.clusterer.from_prompts import KMeansFromPrompts
from fused_clip.method.clusterer.generalisation import generalisation_score
from fused_clip.method.clusterer.keep_classes import KeepClasses
from fused_clip.method.clusterer.spectral import SpectralClustering
from fused_clip.method.clusterer.tac import TextAidedClustering
from fused_clip.method.clusterer.turtle import Turtle

__all__ = [
    "KMeansFromPrompts",
    "KeepClasses",
    "SpectralClustering",
    "TextAidedClustering",
    "Turtle",
    "generalisation_score",
]
