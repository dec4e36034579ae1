"""Clusterers that scikit-learn lacks or is too slow at."""

from fused_clip.method.clusterer.spectral import SpectralClustering
from fused_clip.method.clusterer.tac import TextAidedClustering

__all__ = ["SpectralClustering", "TextAidedClustering"]
