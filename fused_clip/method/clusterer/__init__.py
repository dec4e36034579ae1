"""Clusterers that scikit-learn lacks or is too slow at."""

from fused_clip.method.clusterer.spectral import SpectralClustering

__all__ = ["SpectralClustering"]
