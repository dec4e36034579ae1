"""Many rows: the number above which scores come from samples, blocks of rows, and where rows went."""

from collections.abc import Iterator

import numpy as np

from fused_clip.support.arrays import IntArray

EXACT_ROWS = 100_000  # up to here, every number is computed from all rows


def row_blocks(count: int, size: int = EXACT_ROWS) -> Iterator[slice]:
    """Cut rows into blocks, so that intermediate arrays stay small; `count` 0 gives one empty block.

    Up to `EXACT_ROWS` rows are one block. Sums over blocks then have the same bits as a single sum.

    Parameters
    ----------
    count : number of rows.
    size : rows of a block, at least 1.
    """
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


def inverse(order: IntArray) -> IntArray:
    """Invert a permutation: the place that each row has in an order.

    Parameters
    ----------
    order : (n,) numbers of the rows, each once.
    """
    found = np.empty_like(order)
    found[order] = np.arange(len(order))
    return found
