"""Rows moved, scaled and rotated to their principal axes."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Self

import numpy as np

from fused_clip.method.clusterer.memory_maps import block_rows, blocks, release
from fused_clip.support.arrays import Array, FloatArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.threads import for_each

_SAMPLE = 20_000  # rows that give mean, scale and axes
_TOGETHER = 128  # of these; with each, a system may map two megabytes of a file
_LARGEST = 60_000  # coordinate of an outlier, in float16


@dataclass(frozen=True)
class PrincipalAxes:
    """Mean, scale and principal axes of a sample.

    Parameters
    ----------
    mean : (d,) float64.
    scale : largest distance of a coordinate from its mean.
    axes : (d, d) float32, in columns, of most variance first.
    """

    mean: FloatArray
    scale: float
    axes: FloatArray

    @classmethod
    def of(cls, X: Rows, seed: int) -> Self:
        """Compute them.

        Parameters
        ----------
        X : (n, d) rows.
        seed : of the sample.

        Raises
        ------
        InputError
            If a row of the sample is not finite.
        """
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(len(X), min(len(X), _SAMPLE), replace=False))
        sample = np.empty((len(chosen), X.shape[1]))
        for some in row_blocks(len(chosen), _TOGETHER):
            sample[some] = X[chosen[some]]
            release(X)
        _check_finite(sample, chosen)
        mean = sample.mean(axis=0)
        sample -= mean
        scale = float(np.abs(sample).max()) or 1.0
        sample /= scale
        axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1]
        return cls(mean, scale, np.ascontiguousarray(axes, dtype=np.float32))

    def rotated(self, rows: Rows, count: int) -> FloatArray:
        """Give the leading coordinates of rows: (m, count) float32.

        Parameters
        ----------
        rows : (m, d) float32 or float64.
        count : in [1, d].
        """
        moved = rows - self.mean.astype(rows.dtype)
        moved /= self.scale
        leading: FloatArray = moved.astype(np.float32, copy=False) @ self.axes[:, :count]
        return leading

    def leading(self, X: Rows, count: int, pool: Executor) -> Array:
        """Give the leading coordinates of all rows, cut to what float16 holds: (n, l) float16, l at most d.

        Parameters
        ----------
        X : (n, d) rows, or a memory map of them.
        count : l, at least 1.
        pool : does parts of the work side by side.

        Raises
        ------
        InputError
            If a row is not finite.
        """
        low = np.empty((len(X), min(count, X.shape[1])), np.float16)

        def work(block: slice) -> None:
            rows = block_rows(X, block)
            _check_finite(rows, range(block.start, block.stop))
            low[block] = self.rotated(rows, low.shape[1]).clip(-_LARGEST, _LARGEST)

        for_each(pool, work, blocks(X))
        return low


def _check_finite(rows: Rows, numbers: IntArray | range) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = numbers[int(np.flatnonzero(~finite)[0])]
        raise InputError("X", "must be finite (no NaN or infinity)", f"row {bad}")
