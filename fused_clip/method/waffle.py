"""Prompts with random descriptors: a control for what descriptions of classes say."""

from pathlib import Path
from string import ascii_lowercase, digits

import numpy as np

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method.prompt import Prompts, distinct, task
from fused_clip.support.errors import InputError

_NOUNS = Path(__file__).with_name("nouns.txt")


def waffle(dataset: ImageDataset, pairs: int = 15, seed: int = 0) -> Prompts:
    """An ensemble a class: the task caption with random words and characters, the same for all classes.

    WaffleCLIP (Roth et al. 2023, arXiv:2306.07282): what descriptions gain over these is what they say. The
    authors average similarities (``text=mean_similarity classifier=mean_similarity``) and repeat seven seeds.

    Parameters
    ----------
    dataset : names and captions.
    pairs : random descriptors of each kind: a noun, and as many characters as a class name has on average.
    seed : draws them.

    Raises
    ------
    InputError
        If `pairs` is below 1 or above the nouns that there are, or `seed` is negative.
    """
    nouns = _NOUNS.read_text("utf-8").split()
    if not 1 <= pairs <= len(nouns):
        raise InputError("prompt.pairs", f"must be between 1 and {len(nouns)}", pairs)
    if seed < 0:
        raise InputError("prompt.seed", "must be at least 0", seed)
    rng = np.random.default_rng(seed)
    length = max(1, round(float(np.mean([len(name) for name in dataset.class_names]))))
    words = rng.choice(nouns, size=pairs, replace=False).tolist()
    characters = rng.choice(list(ascii_lowercase + digits), size=(pairs, length))
    random = [text for pair in zip(words, map("".join, characters), strict=True) for text in pair]
    plain = task(dataset)
    texts = tuple(tuple(_with(caption, text) for text in random) for (caption,) in plain.texts)
    return distinct(Prompts(texts, plain.target_names, plain.target_of_class, plain.prompt_of_target))


def _with(caption: str, descriptor: str) -> str:
    """Put a descriptor before the full stop of a caption, if it has one."""
    stem = caption.rstrip(".")
    return f"{stem}, which has {descriptor}{caption[len(stem) :]}"
