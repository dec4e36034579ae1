"""Image and text towers of CLIP models."""

from fused_clip.backbone.base import Backbone, LearnableTexts
from fused_clip.backbone.clip import OpenClipBackbone
from fused_clip.backbone.open_vocabulary import OpenVocabularyBackbone
from fused_clip.backbone.precomputed import Precomputed

__all__ = ["Backbone", "LearnableTexts", "OpenClipBackbone", "OpenVocabularyBackbone", "Precomputed"]
