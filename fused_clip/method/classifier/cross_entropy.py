"""Cross-entropy of a softmax and its gradient, shared by the classifiers that descend it."""

import numpy as np

from fused_clip.support.arrays import DoubleArray, IntArray, Rows


def unit_rows(rows: Rows) -> DoubleArray:
    """Scale rows to length 1; rows of zeros stay.

    Parameters
    ----------
    rows : (n, d) rows.

    Returns
    -------
    (n, d) float64.
    """
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms == 0, 1, norms))


def cross_entropy(logits: DoubleArray, targets: IntArray) -> tuple[float, DoubleArray]:
    """Sum of the cross-entropies of rows, and its gradient with respect to the logits.

    Parameters
    ----------
    logits : (n, K) scores; overwritten by the gradient, as a copy would double the memory.
    targets : (n,) target of each row, in [0, K).

    Returns
    -------
    The sum, and the (n, K) gradient: softmax minus the one-hot targets.
    """
    index = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[index, targets]
    np.exp(logits, out=logits)
    totals = logits.sum(axis=1, keepdims=True)
    logits /= totals
    logits[index, targets] -= 1
    return float(np.log(totals).sum() - own.sum()), logits
