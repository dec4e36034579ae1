"""How unlike the training images an image is, whatever the model answers for it."""

import numpy as np

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
    from sklearn.neighbors import NearestNeighbors

    if not len(rows):
        return np.empty(0)
    count = min(NEIGHBORS, len(reference))
    search = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="cosine")
    distances, _ = search.fit(reference.astype(np.float64)).kneighbors(rows.astype(np.float64))
    return np.asarray(distances.mean(axis=1).round(_DECIMALS))
