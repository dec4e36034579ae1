"""Embeddings and what is derived from them, kept on disk."""

from fused_clip.store.embeddings import Store

__all__ = ["Store"]
