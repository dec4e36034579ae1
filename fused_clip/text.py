"""The text rows that are fused: the prompts' own embeddings, or a control in their place."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


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
