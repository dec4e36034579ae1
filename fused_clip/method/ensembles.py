"""Prompts of several texts: similarities averaged, templates weighted by the images, or one chosen."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from scipy.special import softmax

from fused_clip.method.prompt import Prompts
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray
from fused_clip.support.errors import InputError

_SCALE = 100.0  # CLIP's learnt logit scale, by which the authors multiply similarities


def mean_similarity(members: Sequence[FloatArray]) -> FloatArray:
    """Average the unit texts of each prompt, and keep the length of the mean.

    The inner product of an image with a row is its mean similarity to the texts (Menon and Vondrick 2022,
    arXiv:2210.07183), where ``classifier=mean_similarity`` takes it. A prompt whose texts differ is shorter;
    ``text=prompt`` gives all the length of a single text, as most ensembles of templates do.

    Parameters
    ----------
    members : p arrays (m, d), the embeddings of the texts of each prompt.

    Returns
    -------
    (p, d) float32 rows, all at the scale of the mean norm of the texts.
    """
    return _weighted(members, [np.full(len(part), 1 / len(part)) for part in members])


def zpe(
    templates: FloatArray,
    images: FloatArray,
    selection: Literal["weights", "select"] = "weights",
    threshold: float = 0.5,
) -> FloatArray:
    """Weight the templates by the confidence of the images: `zpe_weights`.

    Parameters
    ----------
    templates : (p, m, d) embeddings, text j of every prompt from the same template.
    images : (n, d) training images; no label is used.
    selection : as in `zpe_weights`.
    threshold : as in `zpe_weights`.

    Returns
    -------
    (p, d) float32 rows: weighted means as `mean_similarity` takes them.

    Raises
    ------
    InputError
        If `selection` or `threshold` is not one of its values.
    """
    weights = zpe_weights(templates, images, selection, threshold)
    return _weighted(templates, [weights] * len(templates))


def zpe_weights(
    templates: FloatArray,
    images: FloatArray,
    selection: Literal["weights", "select"] = "weights",
    threshold: float = 0.5,
) -> DoubleArray:
    """Weight templates by the mean largest logit over images, without the bias of each text.

    Allingham et al. 2023, arXiv:2302.06235. They subtract from each logit half of its mean over images of the
    pre-training data and half of its mean over the test images. Only training images are at hand here, and
    stand for both.

    Parameters
    ----------
    templates : (p, m, d) embeddings, text j of every prompt from the same template.
    images : (n, d) training images.
    selection : weights, the softmax of the scores; or select, the same weight for templates whose score is
        above the median by more than `threshold` median absolute deviations (for all if there is none).
    threshold : of selection, at least 0: the authors take 0.5 for ImageNet and 2 for fine-grained sets.

    Returns
    -------
    (m,) weights, which sum to 1.

    Raises
    ------
    InputError
        If `selection` or `threshold` is not one of its values.
    """
    if selection not in ("weights", "select"):
        raise InputError("text.selection", "must be a way", selection, choices=("weights", "select"))
    if not threshold >= 0:
        raise InputError("text.threshold", "must be at least 0", threshold)
    rows, texts = _unit(images), _unit(templates)
    middle = rows.mean(axis=0, dtype=np.float64)
    confidences = [((rows @ own.T) - middle @ own.T).max(axis=1).mean() for own in texts.swapaxes(0, 1)]
    scores = _SCALE * np.array(confidences, dtype=np.float64)
    if selection == "weights":
        return np.asarray(softmax(scores))
    above = scores - np.median(scores)
    chosen = above > threshold * np.median(np.abs(above))
    return np.asarray(chosen / chosen.sum() if chosen.any() else np.full(len(scores), 1 / len(scores)))


def carprt(templates: FloatArray, images: FloatArray) -> FloatArray:
    """Weight the templates of each prompt on its own by the images nearest to it: `carprt_weights`.

    Parameters
    ----------
    templates : (p, m, d) embeddings, text j of every prompt from the same template.
    images : (n, d) training images; no label is used.

    Returns
    -------
    (p, d) float32 rows: weighted means as `mean_similarity` takes them.
    """
    return _weighted(templates, carprt_weights(templates, images))


def carprt_weights(templates: FloatArray, images: FloatArray) -> DoubleArray:
    """Weight templates for each prompt: class-aware prompt reweighting (CARPRT, ICLR 2026).

    The score of a template for a prompt is the mean logit of the images that are nearest to this prompt among
    the texts of the template; weights are the softmax of the scores over the templates. A template by which
    no image is nearest to the prompt has no weight there. A prompt that is nearest to no image by any
    template has uniform weights. Source: https://openreview.net/forum?id=AScQDQqVXY.

    Parameters
    ----------
    templates : (p, m, d) embeddings, text j of every prompt from the same template.
    images : (n, d) training images.

    Returns
    -------
    (p, m) weights; rows sum to 1.
    """
    rows, texts = _unit(images), _unit(templates)
    scores = np.full(texts.shape[:2], -np.inf)
    for template, own in enumerate(texts.swapaxes(0, 1)):
        logits = _SCALE * (rows @ own.T)
        nearest = logits.argmax(axis=1)
        counts = np.bincount(nearest, minlength=len(own))
        sums = np.bincount(nearest, weights=logits.max(axis=1), minlength=len(own))
        scores[counts > 0, template] = sums[counts > 0] / counts[counts > 0]
    scores[np.isinf(scores).all(axis=1)] = 0
    return np.asarray(softmax(scores, axis=1))


def chosen(
    texts: FloatArray,
    templates: FloatArray,
    prompts: Prompts,
    images: FloatArray,
    targets: IntArray,
    best: bool,
    per_class: bool = False,
) -> FloatArray:
    """Keep one text of each prompt, the best or the worst by labelled training images; ties to the first.

    The worst bounds what an unlucky wording costs, the best what a search over wordings could gain.

    Parameters
    ----------
    texts : (p, d) rows of the prompts; kept where `per_class` finds no labelled image of a prompt.
    templates : (p, m, d) embeddings, text j of every prompt from the same template.
    prompts : which prompt stands for which target.
    images : (n, d) training images.
    targets : (n,) target of each, -1 where it is not known.
    best : whether to keep the best or the worst.
    per_class : False: the template of highest or lowest zero-shot accuracy, the same for all prompts. True:
        for each prompt on its own the text whose mean similarity to the prompt's images exceeds that to all
        other images by the most or the least.

    Returns
    -------
    (p, d) float32 rows.

    Raises
    ------
    InputError
        If no image has a label.
    """
    known = targets >= 0
    if not known.any():
        raise InputError("text", "needs a labelled training image to choose by")
    rows, owners = _unit(images[known]), np.asarray(prompts.prompt_of_target)[targets[known]]
    sign = 1 if best else -1
    if not per_class:
        right = [(rows @ own.T).argmax(axis=1) == owners for own in _unit(templates).swapaxes(0, 1)]
        choice = int((sign * np.mean(right, axis=1)).argmax())
        return np.asarray(templates[:, choice], dtype=np.float32)
    kept, total = np.array(texts, dtype=np.float32), rows.sum(axis=0, dtype=np.float64)
    for prompt in np.unique(owners):
        own = rows[owners == prompt]
        others = total - own.sum(axis=0, dtype=np.float64)
        apart = own.mean(axis=0) - others / max(1, len(rows) - len(own))
        kept[prompt] = templates[prompt, int((sign * (_unit(templates[prompt]) @ apart)).argmax())]
    return kept


def _weighted(members: Iterable[FloatArray], weights: Iterable[DoubleArray]) -> FloatArray:
    """Weighted mean of the unit texts of each prompt, at the mean norm of all texts."""
    parts = list(members)
    norm = np.linalg.norm(np.concatenate(parts), axis=1).mean()
    means = [own @ _unit(part) for part, own in zip(parts, weights, strict=True)]
    return np.asarray(norm * np.stack(means), dtype=np.float32)


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms == 0, 1, norms))
