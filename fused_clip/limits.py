"""What a run can't do or can't know, told before it starts."""

import logging
import re
from typing import Protocol

from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.errors import InputError
from fused_clip.labels import UNKNOWN
from fused_clip.prompt import Prompts

log = logging.getLogger(__name__)


class Backbone(Protocol):
    """What the pipeline asks of an embedding model; the embedder asks for more."""

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def dim(self) -> int:
        """Width of the embeddings."""

    @property
    def trained_on(self) -> frozenset[str]:
        """Origins of the labelled images that it was trained on."""

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """Words that it was trained on; None where that is not known."""


def check_width(dataset: ImageDataset, backbone: Backbone) -> None:
    """Refuse vectors of the data that are not as wide as the backbone's.

    Raises
    ------
    InputError
        If they are not.
    """
    images = dataset.train.images
    if isinstance(images, Vectors) and images.dim != backbone.dim:
        rule = f"must make embeddings as wide as the data's vectors ({images.dim}), and {backbone.name} makes"
        hint = "Name the backbone that made the vectors, or backbone=precomputed"
        raise InputError("backbone", rule, backbone.dim, hint=hint)


def tell(dataset: ImageDataset, prompts: Prompts, backbone: Backbone) -> None:
    """Name images left out and what can't be known; warn where a small backbone meets what is new to it."""
    if dataset.skipped:
        log.warning("%d unreadable images are left out: %s", len(dataset.skipped), ", ".join(dataset.skipped))
    if not dataset.labelled:
        log.warning("Without labels these can't be known: %s.", UNKNOWN)
    if backbone.vocabulary is None:
        return
    log.info("%s is a small model of a few words: its figures are not OpenAI's ViT-B/32's.", backbone.name)
    words = {word for texts in prompts.texts for text in texts for word in re.findall(r"\w+", text.lower())}
    unknown = sorted({part for word in words for part in word.split("_")} - backbone.vocabulary)
    reasons = [f"was not trained on the words {', '.join(unknown)}"] if unknown else []
    reasons += ["knows no images such as yours"] if dataset.train.origin == "user" else []
    if reasons:
        log.warning("backbone=%s %s: use backbone=vit_b_32.", backbone.name, " and ".join(reasons))
