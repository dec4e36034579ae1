"""Prompt strategies."""

from collections.abc import Sequence

import numpy as np

from fused_clip import ImageDataset
from fused_clip.method.prompt import Prompts


def media(dataset: ImageDataset, media: Sequence[str]) -> Prompts:
    """Describe each class in several media, as an ensemble: "a photo of a cat", "a painting of a cat".

    Parameters
    ----------
    dataset : gives the names of the classes.
    media : such as "photo" and "painting".
    """
    names = dataset.class_names
    texts = tuple(
        tuple(f"{_article(medium)} {medium} of {_article(name)} {name}" for medium in media) for name in names
    )
    each = np.arange(len(names))
    return Prompts(texts, names, target_of_class=each, prompt_of_target=each)


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"
