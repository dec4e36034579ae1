"""Which prompt each training image is fused with.

An option whose YAML says ``uses_labels: false`` is never given labels.
"""

from typing import NamedTuple

import numpy as np

from fused_clip.metrics.curve import Curve
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.errors import InputError


class Pairing(NamedTuple):
    """What a pairing may return in place of the prompts alone.

    Parameters
    ----------
    prompts : (n,) prompt of each image.
    curves : how it got there, to be drawn.
    """

    prompts: IntArray
    curves: tuple[Curve, ...] = ()


def oracle(targets: IntArray, prompt_of_target: IntArray, images: FloatArray, texts: FloatArray) -> IntArray:
    """Pair each image with the prompt of its true target; one without a label as `zero_shot` does.

    Parameters
    ----------
    targets : (n,) true target of each image, in [0, K); -1 where it is not known.
    prompt_of_target : (K,) prompt that stands for each target.
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings.

    Returns
    -------
    (n,) prompt index.
    """
    index = prompt_of_target[targets]
    if (targets < 0).any():
        index[targets < 0] = zero_shot(images[targets < 0], texts)
    return index


def zero_shot(images: FloatArray, texts: FloatArray) -> IntArray:
    """Pair each image with the prompt of highest cosine similarity; ties to the lowest index.

    Parameters
    ----------
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings; no row may be zero.

    Returns
    -------
    (n,) prompt index.
    """
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return np.asarray((images @ unit.T).argmax(axis=1), dtype=np.int64)


def noisy(
    targets: IntArray,
    prompt_of_target: IntArray,
    images: FloatArray,
    texts: FloatArray,
    fraction: float,
    random_state: int,
) -> IntArray:
    """Pair as `oracle`, then give exactly ``round(fraction * n)`` rows another prompt, uniformly.

    Parameters
    ----------
    targets : (n,) true target of each image; -1 where it is not known.
    prompt_of_target : (K,) prompt that stands for each target.
    images : (n, d) image embeddings.
    texts : (p, d) text embeddings, p >= 2.
    fraction : share of rows to change, in [0, 1].
    random_state : seed of the draw.

    Returns
    -------
    (n,) prompt index.

    Raises
    ------
    InputError
        If `fraction` is outside [0, 1] or there is no other prompt to give.
    """
    if not 0 <= fraction <= 1:
        raise InputError("pairing.fraction", "must be between 0 and 1", fraction)
    if len(texts) < 2:
        raise InputError("pairing", "noisy needs at least two prompts", len(texts))
    rng = np.random.default_rng(random_state)
    index = oracle(targets, prompt_of_target, images, texts)
    changed = rng.choice(len(index), size=round(fraction * len(index)), replace=False)
    index[changed] = (index[changed] + rng.integers(1, len(texts), size=len(changed))) % len(texts)
    return index
