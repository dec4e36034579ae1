"""Guarantees on the answers of a model, by images that it was not made from."""

from fused_clip.guarantee.promise import Answered, Guarantee, promised, promised_columns
from fused_clip.guarantee.shift import ShiftTest

__all__ = ["Answered", "Guarantee", "ShiftTest", "promised", "promised_columns"]
