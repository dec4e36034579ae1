"""Rows on the scale that a clusterer takes."""

import numpy as np

from fused_clip.method.fusion import unit_rows
from fused_clip.support.arrays import FloatArray, Rows


def standardised(rows: Rows) -> FloatArray:
    """Centre unit rows, and scale them so that the mean square of their entries is 1.

    Steps of Adam have a size of their own: with entries far below 1 the labels stay soft.

    Parameters
    ----------
    rows : (n, d) rows.
    """
    moved = unit_rows(rows)
    moved -= moved.mean(axis=0)
    scale = np.sqrt((moved**2).mean())
    return np.asarray(moved / (scale if scale > 0 else 1), dtype=np.float32)
