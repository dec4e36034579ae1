"""Clusterers that scikit-learn lacks or is too slow at."""

from fused_clip.clusterer.spectral import SpectralClustering

__all__ = ["SpectralClustering"]
