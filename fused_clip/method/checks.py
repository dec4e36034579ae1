"""What a run can't do or can't know, told before it starts."""

import logging
import re

from fused_clip.backbone.base import Backbone
from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method.labels import UNKNOWN
from fused_clip.method.prompt import Prompts, task
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)
_WORD = re.compile(r"[^\W_]+")  # an underscore ends a word, as in CLIP's tokenizers


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


def warn(dataset: ImageDataset, prompts: Prompts, backbone: Backbone, *, audited: bool) -> None:
    """Name images left out and what can't be known; warn where a small backbone meets what is new to it.

    Parameters
    ----------
    audited : whether the references, which need prompts of the classes, are computed.
    """
    if dataset.skipped:
        log.warning("%d unreadable images are left out: %s", len(dataset.skipped), ", ".join(dataset.skipped))
    if not dataset.labelled:
        log.warning("Without labels these can't be known: %s.", UNKNOWN)
    if backbone.vocabulary is None:
        return
    told = "%s was trained on %d words: its figures are not OpenAI's ViT-B/32's."
    log.info(told, backbone.name, len(backbone.vocabulary))
    of_classes = task(dataset).texts if audited and not prompts.distinguishes_classes else ()
    texts = " ".join(text for members in (*prompts.texts, *of_classes) for text in members)
    unknown = sorted(set(_WORD.findall(texts.lower())) - backbone.vocabulary)
    foreign = _set_of(dataset.train.origin) not in map(_set_of, backbone.trained_on)
    new = [f"the words {', '.join(unknown)}"] if unknown else []
    new += ["images such as these"] if foreign else []
    if new:
        log.warning("%s was not trained on %s: use backbone=vit_b_32.", backbone.name, " or on ".join(new))


def warn_of_other_images(backbone: Backbone) -> None:
    """Warn that a small backbone is going to meet images of which nobody says what they are."""
    if backbone.vocabulary is not None:
        sets = ", ".join(sorted(set(map(_set_of, backbone.trained_on))))
        told = "%s was trained on images of %s alone: for others use backbone=vit_b_32."
        log.warning(told, backbone.name, sets)


def _set_of(origin: str) -> str:
    """Name of the set that a split is of."""
    return origin.partition("/")[0]
