"""The text rows that are fused: the prompts' own embeddings, or a control in their place."""

import numpy as np

from fused_clip.support.arrays import DoubleArray, FloatArray
from fused_clip.support.errors import InputError


def prompt(texts: FloatArray) -> FloatArray:
    """Return the prompts' embeddings as they are.

    Parameters
    ----------
    texts : (p, d) text embeddings, one row a distinct prompt.
    """
    return texts


def rotated(texts: FloatArray, random_state: int) -> FloatArray:
    """Turn all prompts by one random orthogonal matrix, drawn uniformly (Haar).

    Norms and all angles between prompts are kept; what the words mean to the image tower is lost.

    Parameters
    ----------
    texts : (p, d) text embeddings.
    random_state : seed of the draw.

    Returns
    -------
    (p, d) float32 rows ``texts @ Q``.
    """
    from scipy.stats import ortho_group

    rotation = ortho_group.rvs(texts.shape[1], random_state=random_state)
    return np.asarray(texts @ rotation, dtype=np.float32)


def isotropic(texts: FloatArray, random_state: int) -> FloatArray:
    """Replace every prompt by a random direction of its norm, drawn uniformly and independently.

    Neither meaning nor geometry is kept. In many dimensions such rows are nearly orthogonal, so further
    apart than prompts are.

    Parameters
    ----------
    texts : (p, d) text embeddings.
    random_state : seed of the draw.

    Returns
    -------
    (p, d) float32 rows.
    """
    return _at_norms_of(texts, np.random.default_rng(random_state).normal(size=texts.shape))


def orthogonal(texts: FloatArray, random_state: int) -> FloatArray:
    """Replace the prompts by directions at right angles to each other, each of its prompt's norm.

    The frame is drawn uniformly (Haar). Equal norms then give every pair of rows the same distance.

    Parameters
    ----------
    texts : (p, d) text embeddings, p <= d.
    random_state : seed of the draw.

    Returns
    -------
    (p, d) float32 rows.

    Raises
    ------
    InputError
        If there are more prompts than dimensions.
    """
    count, dim = texts.shape
    if count > dim:
        raise InputError("text", f"orthogonal needs at most {dim} prompts, as many as dimensions", count)
    frame, upper = np.linalg.qr(np.random.default_rng(random_state).normal(size=(dim, count)))
    # The signs make the draw uniform: Mezzadri, arXiv:math-ph/0609050.
    return _at_norms_of(texts, (frame * np.sign(np.diag(upper))).T)


def permuted(texts: FloatArray, random_state: int) -> FloatArray:
    """Give every prompt's place to another prompt's row: one random cycle through all of them.

    The rows are real prompts, each in a wrong place; a single prompt keeps its own.

    Parameters
    ----------
    texts : (p, d) text embeddings.
    random_state : seed of the draw.

    Returns
    -------
    (p, d) the same rows in another order.
    """
    order = np.random.default_rng(random_state).permutation(len(texts))
    shuffled = np.empty_like(texts)
    shuffled[order] = texts[np.roll(order, 1)]
    return shuffled


def shrunk(texts: FloatArray, share: float) -> FloatArray:
    """Move every prompt towards the mean of all: ``m + share * (t - m)``.

    Distances between prompts shrink to this share of theirs, and what they say relative to each other stays.

    Parameters
    ----------
    texts : (p, d) text embeddings.
    share : of each prompt's distance to the mean, in (0, 1].

    Returns
    -------
    (p, d) float32 rows.

    Raises
    ------
    InputError
        If `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError("text.share", "must be above 0 and at most 1", share)
    middle = texts.mean(axis=0, dtype=np.float64)
    return np.asarray(middle + share * (texts - middle), dtype=np.float32)


def _at_norms_of(texts: FloatArray, directions: DoubleArray) -> FloatArray:
    """Scale each direction to the norm of the prompt in its place."""
    norms = np.linalg.norm(texts, axis=1) / np.linalg.norm(directions, axis=1)
    return np.asarray(directions * norms[:, None], dtype=np.float32)


def ensemble(members: FloatArray) -> FloatArray:
    """Average the texts of one prompt after L2 normalisation, at the members' mean norm.

    The norm keeps an ensemble on the scale of a single prompt, which fusion of unnormalised
    embeddings needs; an ensemble of one text is that text's embedding.

    Parameters
    ----------
    members : (m, d) embeddings of the prompt's texts, m >= 1.

    Returns
    -------
    (d,) float32.
    """
    if len(members) == 1:
        return np.asarray(members[0], dtype=np.float32)
    norms = np.linalg.norm(members, axis=1, keepdims=True)
    direction = (members / norms).mean(axis=0)
    return np.asarray(direction * (norms.mean() / np.linalg.norm(direction)), dtype=np.float32)
