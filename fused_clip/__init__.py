"""Prompt-fused CLIP embeddings."""
