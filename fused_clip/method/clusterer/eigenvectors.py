"""Leading eigenvectors of large graphs whose rows are sorted by cells: coarse ones first, then filtered."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from fused_clip.support import threads
from fused_clip.support.arrays import DoubleArray, FloatArray, IntArray
from fused_clip.support.many_rows import row_blocks

Result = TypeVar("Result")

_GUARDS = 8  # vectors beyond those asked for: the last of a block converge slowly
_RANDOM = 2  # of these, which contain what the graph of the cells lacks, or the solver missed
_DEGREE = 10  # of the polynomial; products with the graph in a step
_MOST_STEPS = 30
_TOLERANCE = 1e-5  # largest change of an eigenvalue in a step
_ROUNDING = 1e-6
_PART = 1 << 17  # rows of the graph that a thread multiplies at a time


def leading_eigenvectors(
    weights: csr_array, count: int, cells: IntArray, random: np.random.RandomState
) -> tuple[DoubleArray, FloatArray]:
    """Compute the largest eigenvalues of D^-1/2 W D^-1/2 of a connected graph, and its eigenvectors.

    The graph of the cells, whose eigenvectors are soon found, gives a first guess, constant on each cell.
    Subspace iteration with Chebyshev polynomials refines it (Zhou, Saad, Tiago and Chelikowsky 2006,
    "Self-consistent-field calculations using Chebyshev-filtered subspace iteration",
    doi:10.1016/j.jcp.2006.03.017): a polynomial of degree 10 damps eigenvectors below the least eigenvalue of
    the block. Blocks of vectors make good use of memory, and rows sorted by cells of the caches.

    Parameters
    ----------
    weights : (n, n) symmetric, non-negative float32, without a diagonal; each row has an entry.
    count : k, at least 1; n is several times k.
    cells : (n,) cell of each row, ascending.
    random : start of the solver, and of guesses beyond those that the cells give.

    Returns
    -------
    eigenvalues : (k,) descending, to about 1e-4.
    eigenvectors : (n, k) float32, orthonormal when multiplied by D^1/2: the eigenvectors scaled by D^-1/2.
    """
    degrees = weights.sum(axis=1, dtype=np.float64).astype(np.float32)
    graph = _Graph(tuple(_parts(weights)), degrees)
    block = _guess(weights, count + _GUARDS, cells, random)
    with graph.parallel():
        values, block = graph.rotated(block)
        for _ in range(_MOST_STEPS):
            before = values[:count]
            values, block = graph.rotated(graph.filtered(block, float(values[-1])))
            if np.abs(values[:count] - before).max() < _TOLERANCE:
                break
    # The graph is connected: its largest eigenvalue is 1 but for rounding.
    return np.concatenate([[1.0], values[1:count]]), block[:, :count]


@dataclass
class _Graph:
    """A graph in parts of consecutive rows, (first row, rows), and the sums of its rows.

    Vectors are those of D^-1 W, which has the eigenvalues of D^-1/2 W D^-1/2: they are multiplied by the
    graph as it is, and orthogonal in the inner product with weights D.
    """

    parts: Sequence[tuple[int, csr_array]]
    degrees: FloatArray

    @contextmanager
    def parallel(self) -> Iterator[None]:
        """Multiply in threads meanwhile, each of which computes alone: the same bits everywhere."""
        with threads.workers() as self._pool:
            yield

    def rotated(self, block: FloatArray) -> tuple[DoubleArray, FloatArray]:
        """Rayleigh-Ritz: eigenvalues, descending, and vectors of a block's span; `block` is overwritten."""
        mass, stiffness = (sum(parts) for parts in zip(*self._each(self._products, block), strict=True))
        # Lengths first: a filter makes them differ by many digits. Then Cholesky's factor makes the block
        # orthonormal; what float32 rounds keeps it from vanishing where vectors are nearly the same.
        lengths = np.sqrt(np.diag(mass))
        factor = np.linalg.cholesky(mass / np.outer(lengths, lengths) + _ROUNDING * np.eye(len(mass)))
        inverse = np.linalg.inv(factor) / lengths
        values, vectors = np.linalg.eigh(inverse @ stiffness @ inverse.T)
        turn = (inverse.T @ vectors[:, ::-1]).astype(np.float32)

        self._each(self._turn, block, turn)
        return values[::-1] * (1 + _ROUNDING), block

    def filtered(self, block: FloatArray, cut: float) -> FloatArray:
        """Apply a Chebyshev polynomial, small on [-1, cut] and large above; `block` is overwritten."""
        half, middle = np.float32((cut + 1) / 2), np.float32((cut - 1) / 2)
        last, now = block, np.empty_like(block)
        self._each(self._step, now, last, middle, 1 / half)
        for _ in range(_DEGREE - 1):
            self._each(self._next_step, last, now, middle, 2 / half)
            last, now = now, last
        return now

    def _step(
        self, start: int, rows: csr_array, new: FloatArray, now: FloatArray, middle: float, factor: float
    ) -> None:
        """Of a part of the rows: ``new = factor * (D^-1 W - middle) now``."""
        own = slice(start, start + rows.shape[0])
        product = rows @ now
        product /= self.degrees[own, None]
        product -= middle * now[own]
        np.multiply(product, factor, out=new[own])

    def _next_step(
        self, start: int, rows: csr_array, last: FloatArray, now: FloatArray, middle: float, factor: float
    ) -> None:
        """Of a part of the rows: ``last = factor * (D^-1 W - middle) now - last``, in its place."""
        before = last[start : start + rows.shape[0]].copy()
        self._step(start, rows, last, now, middle, factor)
        last[start : start + rows.shape[0]] -= before

    def _turn(self, start: int, rows: csr_array, block: FloatArray, turn: FloatArray) -> None:
        own = slice(start, start + rows.shape[0])
        block[own] = block[own] @ turn

    def _products(self, start: int, rows: csr_array, block: FloatArray) -> tuple[DoubleArray, DoubleArray]:
        """Of a part of the rows: V^T D V and V^T W V."""
        own = block[start : start + rows.shape[0]]
        weighed = own * self.degrees[start : start + len(own), None]
        return (own.T @ weighed).astype(np.float64), (own.T @ (rows @ block)).astype(np.float64)

    def _each(self, work: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Do work for every part; results in order."""
        return list(self._pool.map(lambda part: work(*part, *arguments), self.parts))


def _parts(weights: csr_array) -> Iterator[tuple[int, csr_array]]:
    """Yield the graph part by part, as views of its arrays."""
    for rows in row_blocks(weights.shape[0], _PART):
        ends = weights.indptr[rows.start : rows.stop + 1]
        part = csr_array((len(ends) - 1, weights.shape[1]), dtype=weights.dtype)
        entries = slice(ends[0], ends[-1])  # set afterwards: to make an array of views, scipy copies them
        part.data, part.indices = weights.data[entries], weights.indices[entries]
        part.indptr = ends - ends[0]
        yield rows.start, part


def _guess(weights: csr_array, count: int, cells: IntArray, random: np.random.RandomState) -> FloatArray:
    """(n, count) vectors of D^-1 W that are constant on each cell, the leading ones of their graph."""
    from scipy.sparse.linalg import eigsh

    rows = len(cells)
    number = np.cumsum(np.diff(cells, prepend=cells[0]) != 0)
    member = csr_array((np.ones(rows, np.float32), number, np.arange(rows + 1)))
    # Part by part: the product of all rows with the cells would be as large as the graph.
    coarse = csr_array(
        sum(
            member[start : start + own.shape[0]].T @ (own @ member).astype(np.float64)
            for start, own in _parts(weights)
        )
    )
    mass = coarse.sum(axis=1)
    scale = 1 / np.sqrt(mass)
    coarse.data *= np.repeat(scale, np.diff(coarse.indptr))
    coarse.data *= scale[coarse.indices]
    found = min(count - _RANDOM, len(mass) - 1)
    block = np.empty((rows, count), np.float32)
    block[:, found:] = random.uniform(-1, 1, (rows, count - found))
    if found > 0:
        start = random.uniform(-1, 1, len(mass))
        vectors = eigsh(coarse, found, which="LA", v0=start)[1] * scale[:, None]
        own = vectors.astype(np.float32)
        for part in row_blocks(rows, _PART):
            block[part, :found] = own[number[part]]
    return block
