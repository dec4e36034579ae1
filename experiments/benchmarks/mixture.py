"""Rows that look like embeddings, as many as are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fused_clip.dataset.embedded import read_mnist_5k

DIMENSION, GROUPS, SEED = 512, 20, 0
SPREAD = 1.75  # of the rows of a group around its centre, as a multiple of the centres' own
NOISE = 1.0  # of embeddings that are drawn again, as a share of each axis' deviation
DIGITS = slice(None)  # of the 5,000
BLOCK = 10_000
WARM = 300  # rows that a benchmark is tried on first, so that imports and caches are not part of its time


def mixture(
    n_rows: int, *, spread: float = SPREAD, ratio: float = 1, seed: int = SEED
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of length 1, (n, 512) float32, of a mixture of 20 Gaussians, and the group of each.

    Centres and rows around them vary along axis j with a variance in proportion to 1 / j, as embeddings do,
    whose variance is in few directions. The first rows of a larger draw are those of a smaller one.

    Parameters
    ----------
    n_rows : number of rows.
    spread : of the rows of a group around its centre, as a multiple of the centres' own.
    ratio : size of the largest group to the smallest; the others are in geometric progression.
    seed : of the draw.
    """
    rows = np.empty((n_rows, DIMENSION), dtype=np.float32)
    group = np.empty(n_rows, dtype=np.int64)
    _fill(rows, group, mixture_blocks(n_rows, spread=spread, ratio=ratio, seed=seed))
    return rows, group


def mixture_blocks(
    n_rows: int, *, spread: float = SPREAD, ratio: float = 1, seed: int = SEED
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the rows of `mixture`, and their groups, block by block."""
    random = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, DIMENSION + 1, dtype=np.float32))
    centres = scale * random.standard_normal((GROUPS, DIMENSION), dtype=np.float32)
    weights = np.geomspace(1, ratio, GROUPS)
    for start in range(0, n_rows, BLOCK):
        count = min(BLOCK, n_rows - start)
        noise = random.standard_normal((BLOCK, DIMENSION), dtype=np.float32)[:count]
        if ratio == 1:
            group = random.integers(0, GROUPS, BLOCK)[:count]
        else:
            group = random.choice(GROUPS, BLOCK, p=weights / weights.sum())[:count]
        rows = centres[group] + spread * scale * noise
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield rows, group


def write_mixture(file: Path, n_rows: int) -> NDArray[np.int64]:
    """Write the rows of `mixture` to a ``.npy`` file, block by block, and give their groups."""
    group = np.empty(n_rows, dtype=np.int64)
    rows = np.lib.format.open_memmap(file, "w+", np.float32, (n_rows, DIMENSION))
    _fill(rows, group, mixture_blocks(n_rows))
    rows.flush()
    return group


def _fill(
    rows: NDArray[np.float32],
    group: NDArray[np.int64],
    blocks: Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> None:
    start = 0
    for some, owners in blocks:
        rows[start : start + len(some)], group[start : start + len(some)] = some, owners
        start += len(some)


def digits_with_noise(n_rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings of 5,000 real digits by `compact`, drawn with noise of each axis' deviation."""
    rows, labels = _digits()
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(rows), n_rows)
    noise = random.standard_normal((n_rows, rows.shape[1]), dtype=np.float32)
    noisy = rows[drawn] + NOISE * rows.std(axis=0) * noise
    return noisy / np.linalg.norm(noisy, axis=1, keepdims=True), labels[drawn]


@cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from experiments.benchmarks.inputs import compact

    pixels, labels = (one[DIGITS] for one in read_mnist_5k())
    return compact().encode_images(list(pixels[..., None].repeat(3, axis=3))), labels
