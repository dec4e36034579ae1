"""How unlike the training images an image is, whatever the model answers for it."""

import numpy as np

from fused_clip.method.similar import SimilarRows
from fused_clip.model.calibration_rows import NEIGHBORS
from fused_clip.support.arrays import DoubleArray, Rows

_DECIMALS = 6  # a matrix product differs in the last bits between batches, and equal images must stay equal


def novelty(rows: Rows, reference: Rows) -> DoubleArray:
    """Mean cosine distance of each image to the training images nearest to it: (m,), in [0, 2].

    The higher, the less alike. Distances to nearest neighbours are those of Sun, Ming, Zhu and Li,
    "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022 (arXiv:2204.06507); their mean,
    which depends less on the number of neighbours, is of Angiulli and Pizzuti, "Fast Outlier Detection in
    High Dimensional Spaces", PKDD 2002. No label, prompt or cluster is used, and no other image of the batch.

    Parameters
    ----------
    rows : (m, d) image embeddings.
    reference : (r, d) embeddings of training images, r >= 1; the nearest 5 count, or all if there are fewer.
    """
    if not len(rows):
        return np.empty(0)
    _, cosines = SimilarRows(reference).nearest(rows, NEIGHBORS)
    return np.asarray((1 - cosines.mean(axis=1)).round(_DECIMALS))
