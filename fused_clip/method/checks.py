"""What a run can't do or can't know, told before it starts."""

import logging
import re
from typing import Protocol

from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method.labels import UNKNOWN
from fused_clip.method.prompt import Prompts, task
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)
_WORD = re.compile(r"[^\W_]+")  # an underscore ends a word, as in CLIP's tokenizers


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


def notes(
    dataset: ImageDataset, prompts: Prompts, backbone: Backbone, *, audited: bool
) -> tuple[tuple[int, str], ...]:
    """Name images left out, what stays unknown, and what is new to a small backbone.

    Parameters
    ----------
    dataset : of the run.
    prompts : of the run.
    backbone : of the run.
    audited : whether the references, which need prompts of the classes, are computed.

    Returns
    -------
    Level, as of `logging`, and text of each.
    """
    found = []
    if dataset.skipped:
        text = f"{len(dataset.skipped)} unreadable images are left out: {', '.join(dataset.skipped)}"
        found.append((logging.WARNING, text))
    if not dataset.labelled:
        found.append((logging.WARNING, f"Without labels these can't be known: {UNKNOWN}."))
    if backbone.vocabulary is None:
        return tuple(found)
    words = len(backbone.vocabulary)
    text = f"{backbone.name} was trained on {words} words: its figures are not OpenAI's ViT-B/32's."
    found.append((logging.INFO, text))
    of_classes = task(dataset).texts if audited and not prompts.distinguishes_classes else ()
    texts = " ".join(text for members in (*prompts.texts, *of_classes) for text in members)
    unknown = sorted(set(_WORD.findall(texts.lower())) - backbone.vocabulary)
    foreign = _set_of(dataset.train.origin) not in map(_set_of, backbone.trained_on)
    new = [f"the words {', '.join(unknown)}"] if unknown else []
    new += ["images such as these"] if foreign else []
    if new:
        text = f"{backbone.name} was not trained on {' or on '.join(new)}: use backbone=vit_b_32."
        found.append((logging.WARNING, text))
    return tuple(found)


def warn(dataset: ImageDataset, prompts: Prompts, backbone: Backbone, *, audited: bool) -> None:
    """Log the notes on a run.

    Parameters
    ----------
    dataset, prompts, backbone, audited : as for `notes`.
    """
    for level, text in notes(dataset, prompts, backbone, audited=audited):
        log.log(level, "%s", text)


def warn_of_other_images(backbone: Backbone) -> None:
    """Warn that a small backbone is going to meet images of which nobody says what they are."""
    if backbone.vocabulary is not None:
        sets = ", ".join(sorted(set(map(_set_of, backbone.trained_on))))
        told = "%s was trained on images of %s alone: for others use backbone=vit_b_32."
        log.warning(told, backbone.name, sets)


def _set_of(origin: str) -> str:
    """Name of the set that a split is of."""
    return origin.partition("/")[0]
