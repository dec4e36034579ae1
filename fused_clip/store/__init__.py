"""Embeddings and results derived from them, on disk."""

from fused_clip.store.embeddings import Store

__all__ = ["Store"]
