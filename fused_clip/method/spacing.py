"""How far apart fused prompts are, measured in distances between neighbouring images."""

import numpy as np

from fused_clip.method.clusterer.neighbors import neighbor_distances
from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.support import threads
from fused_clip.support.arrays import IntArray, Rows

NEIGHBOR = 10
MOST_ROWS = 2_000  # whose neighbours are searched: with 10,000 it can take a quarter of the clustering's time


def prompt_spacing(fused_prompts: Rows, fused: Rows, prompt_index: IntArray, *, seed: int) -> float | None:
    """Return the ratio that decides whether the words of the prompts cancel.

    ``min over i != j of ||p_i - p_j||  /  median over rows of the distance to the 10th neighbour``, where p_i
    is one image fused with prompt i, and neighbours have the same prompt as the row.

    Words cancel where no row has a neighbour of another prompt (docs/method.md). Rows i and j of prompts a
    and b, fused by the mean, are ``||(x_i - x_j) + (t_a - t_b)|| / 2`` apart. Where this is more than the
    distance to the 10th row of the same prompt, ``||x_i - x_j|| / 2``, a graph of 10 neighbours has no such
    edge. The ratio compares the least of the terms that the words decide with the size of the term that they
    do not decide; neighbours of other prompts are left out because their distances depend on the words. Far
    above 1 the words cancel, whatever they say; below 1 clusters mix prompts. There is no sharp threshold
    between: differences of images may point along those of prompts.

    Parameters
    ----------
    fused_prompts : (p, w) the same image fused with each prompt, p >= 2; for the mean fusion ``t_i / 2`` but
        for a shift.
    fused : (n, w) training rows, fused as paired.
    prompt_index : (n,) prompt of each row.
    seed : of the sample. With more than 2,000 rows the median is that of 2,000 drawn evenly; their neighbours
        are searched among all rows of the prompt.

    Returns
    -------
    At least 0; None where no neighbour is apart, as of a fusion without the image. A prompt with 10 rows or
    fewer counts with its furthest ones, one with a single row not at all.
    """
    from scipy.spatial.distance import pdist

    drawn = np.arange(len(fused))
    if len(fused) > MOST_ROWS:
        drawn = np.random.default_rng(seed).choice(len(fused), MOST_ROWS, replace=False)
    chosen = np.zeros(len(fused), dtype=bool)
    chosen[drawn] = True
    load_faiss()  # before the limit of threads, which counts for what is loaded
    with threads.limited_for(fused.size):
        distances = [
            # A row is its own nearest.
            neighbor_distances(fused[own & chosen], fused[own], min(NEIGHBOR + 1, int(own.sum())))
            for own in (prompt_index == prompt for prompt in np.unique(prompt_index))
            if own.sum() > 1 and (own & chosen).any()
        ]
    middle = float(np.median(np.concatenate(distances))) if distances else 0.0
    return float(pdist(fused_prompts).min()) / middle if middle > 0 else None
