"""Rows that look like embeddings, as many as are asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIMENSION, GROUPS, SEED = 512, 20, 0
SPREAD = 1.75  # of the rows of a group around its centre, as a multiple of the centres' own
BLOCK = 10_000
WARM = 300  # rows that a benchmark is tried on first, so that imports and caches are not part of its time


def mixture(n_rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of length 1, (n, 512) float32, of a mixture of 20 Gaussians, and the group of each.

    Centres and rows around them vary along axis j with a variance in proportion to 1 / j, as embeddings do,
    whose variance is in few directions. The first rows of a larger draw are those of a smaller one.
    """
    random = np.random.default_rng(SEED)
    scale = 1 / np.sqrt(np.arange(1, DIMENSION + 1, dtype=np.float32))
    centres = scale * random.standard_normal((GROUPS, DIMENSION), dtype=np.float32)
    group = np.empty(n_rows, dtype=np.int64)
    rows = np.empty((n_rows, DIMENSION), dtype=np.float32)
    for start in range(0, n_rows, BLOCK):
        block = slice(start, min(start + BLOCK, n_rows))
        count = block.stop - block.start
        noise = random.standard_normal((BLOCK, DIMENSION), dtype=np.float32)[:count]
        group[block] = random.integers(0, GROUPS, BLOCK)[:count]
        rows[block] = centres[group[block]] + SPREAD * scale * noise
        rows[block] /= np.linalg.norm(rows[block], axis=1, keepdims=True)
    return rows, group
