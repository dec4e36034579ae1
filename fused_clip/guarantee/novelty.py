"""How unlike the training images an image is."""

import numpy as np

from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import DoubleArray, Rows


def novelty(model: SavedModel, rows: Rows) -> DoubleArray:
    """Distance to the nearest admissible cluster: (m,), the higher the less alike.

    Parameters
    ----------
    model : with its constraint.
    rows : (m, d) embeddings.
    """
    return np.asarray(model.predict_embeddings(rows).distances)
