"""Image and text towers of CLIP models."""

from fused_clip.backbone.clip import OpenClipBackbone

__all__ = ["OpenClipBackbone"]
