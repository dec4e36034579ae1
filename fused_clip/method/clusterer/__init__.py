"""Clusterers that scikit-learn lacks or is too slow at."""

from fused_clip.method.clusterer.from_prompts import KMeansFromPrompts
from fused_clip.method.clusterer.keep_classes import KeepClasses
from fused_clip.method.clusterer.spectral import SpectralClustering

__all__ = ["KMeansFromPrompts", "KeepClasses", "SpectralClustering"]
