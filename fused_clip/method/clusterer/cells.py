"""Rows sorted by small cells of near ones, in memory or, for a memory map, in a scratch file."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fused_clip.backbone.device import choose_precision
from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.support import threads
from fused_clip.support.arrays import Array, FloatArray, IntArray, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.memory import size as said

if TYPE_CHECKING:
    import torch

CELL_ROWS = 300  # mean number of rows of a cell
LEAD = 32  # principal axes along which products are float32; along the others, bfloat16
_LARGEST_CELL = 4  # times the mean; a larger one, as duplicates make it, is cut
_SAMPLE = 20_000  # rows that give mean, scale and principal axes
_ITERATIONS, _SAMPLE_A_CELL = 5, 40  # of the k-means that makes the cells; they need not be good clusters
_PASSES, _NEAR = 6, 48  # then rows move to the nearest of the cells near their own, so many times
_CELL_AXES = 64  # principal axes that make the cells
_LARGEST = 60_000  # coordinate of an outlier, in float16
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class Cells:
    """All rows, rotated to their principal axes and sorted so that those of a cell, and near cells, adjoin.

    Parameters
    ----------
    lead, rest : (n, l) float32 and (n, d - l) float32 or bfloat16, the leading and the other coordinates.
    squares : (n,) squared lengths.
    order : (n,) numbers of the rows before sorting.
    ends : (c + 1,) first row of each cell, and n.
    center_lead, center_rest, center_squares : means of the cells, as `lead`, `rest` and `squares`.
    scratch : memory maps of the scratch files that `lead` and `rest` are in, if they are.
    """

    lead: "torch.Tensor"
    rest: "torch.Tensor"
    squares: "torch.Tensor"
    order: IntArray
    ends: IntArray
    center_lead: "torch.Tensor"
    center_rest: "torch.Tensor"
    center_squares: "torch.Tensor"
    scratch: tuple[Array, ...] = ()

    @property
    def cell_of_row(self) -> IntArray:
        """(n,) cell of each sorted row."""
        return np.repeat(np.arange(len(self.ends) - 1), np.diff(self.ends))

    def release(self) -> None:
        """Let go of the pages of a scratch file that are in memory."""
        for part in self.scratch:
            release(part)


def make_cells(X: Rows, seed: int) -> Cells:
    """Sort rows by cells: k-means on a sample makes some, and k-means in each of them the small ones.

    Two levels keep the cost of a row near the square root of the number of cells, and memory-mapped rows
    are read twice, block by block.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64, or a memory map of floats.
    seed : of the samples and of k-means.

    Raises
    ------
    InputError
        If the scratch file of a memory map has no room on the disk, or a row is not finite.
    """
    import torch  # noqa: F401 - before its threads are counted

    load_faiss()
    with threads.workers() as pool:
        frame = _Frame.of(X, seed)
        label = _cell_labels(_leading(X, frame, pool), seed, pool)
        order = np.argsort(label, kind="stable")
        return _stored(X, frame, order, _ends(np.bincount(label)), pool)


def release(rows: Array) -> None:
    """Let go of the pages of a memory map that are in memory; they stay in the system's cache of files.

    Parameters
    ----------
    rows : a memory map that nothing was written to privately, a part of one, or another array.
    """
    base: object = rows
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _Frame:
    """Mean, scale and principal axes, (d, d) in columns, of a sample."""

    mean: FloatArray
    scale: float
    axes: FloatArray

    @classmethod
    def of(cls, X: Rows, seed: int) -> "_Frame":
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(len(X), min(len(X), _SAMPLE), replace=False))
        sample = np.asarray(X[chosen], dtype=np.float64)
        release(X)
        _check_finite(sample, chosen)
        mean = sample.mean(axis=0)
        sample -= mean
        scale = float(np.abs(sample).max()) or 1.0
        sample /= scale
        axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1]
        return cls(mean, scale, np.ascontiguousarray(axes, dtype=np.float32))

    def rotated(self, rows: Rows, count: int) -> FloatArray:
        """(m, count) leading coordinates."""
        moved = rows - self.mean.astype(rows.dtype)
        moved /= self.scale
        leading: FloatArray = moved.astype(np.float32, copy=False) @ self.axes[:, :count]
        return leading


def blocks(X: Rows) -> list[slice]:
    """Cut rows into blocks of some megabytes.

    Parameters
    ----------
    X : (n, d) rows.
    """
    step = max(1, _BLOCK_BYTES // (4 * X.shape[1]))
    return list(row_blocks(len(X), step))


def block_rows(X: Rows, block: slice) -> Rows:
    """Read a block of rows as float32 or float64; pages of a memory map do not stay in memory.

    Parameters
    ----------
    X : (n, d) rows.
    block : one of `blocks`.
    """
    kind = np.float64 if X.dtype == np.float64 else np.float32
    rows = np.array(X[block], kind) if isinstance(X, np.memmap) else np.asarray(X[block], kind)
    release(X)
    return rows


def _leading(X: Rows, frame: _Frame, pool: Executor) -> Array:
    """(n, l) float16 leading coordinates, by which cells are made."""
    low = np.empty((len(X), min(_CELL_AXES, X.shape[1])), np.float16)

    def work(block: slice) -> None:
        rows = block_rows(X, block)
        _check_finite(rows, range(block.start, block.stop))
        low[block] = frame.rotated(rows, low.shape[1]).clip(-_LARGEST, _LARGEST)

    _for_each(pool, work, blocks(X))
    return low


def _check_finite(rows: Rows, numbers: IntArray | range) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = numbers[int(np.flatnonzero(~finite)[0])]
        raise InputError("X", "must be finite (no NaN or infinity)", f"row {bad}")


def _cell_labels(low: Array, seed: int, pool: Executor) -> IntArray:
    """(n,) cell of each row; near cells mostly have near numbers."""
    label = _made_in_two_levels(low, seed, pool)
    for _ in range(_PASSES):
        label = _moved_to_nearest(low, label, pool)
    return _cut(label)


def _made_in_two_levels(low: Array, seed: int, pool: Executor) -> IntArray:
    faiss = load_faiss()
    count = max(1, len(low) // CELL_ROWS)
    large = max(1, round(count**0.5))
    sample = np.random.default_rng(seed).choice(
        len(low), min(len(low), _SAMPLE_A_CELL * large), replace=False
    )
    centers = _centers(low[np.sort(sample)], large, seed)
    owner = np.empty(len(low), dtype=np.int64)

    def own(block: slice) -> None:
        owner[block] = faiss.knn(low[block].astype(np.float32), centers, 1)[1][:, 0]

    _for_each(pool, own, blocks(low))
    members, bounds = _by_cell(owner)
    label = np.empty(len(low), dtype=np.int64)
    made = 0
    some = [members[start:stop] for start, stop in pairwise(bounds) if start < stop]
    for inside, found in zip(some, pool.map(lambda inside: _split(low[inside], seed), some), strict=True):
        label[inside] = made + found
        made += int(found.max()) + 1
    return label


def _split(low: Array, seed: int) -> IntArray:
    """Small cells of the rows of a large one, numbered from 0."""
    faiss = load_faiss()
    rows = low.astype(np.float32)
    centers = _centers(rows, max(1, round(len(rows) / CELL_ROWS)), seed)
    own: IntArray = faiss.knn(rows, centers, 1)[1][:, 0]
    return own


def _moved_to_nearest(low: Array, label: IntArray, pool: Executor) -> IntArray:
    """Move each row to the nearest of the cells near its own: a step of k-means across large cells."""
    faiss = load_faiss()
    members, ends = _by_cell(label)
    centers = np.zeros((len(ends) - 1, low.shape[1]), dtype=np.float32)
    cells = [cell for cell, (start, stop) in enumerate(pairwise(ends)) if start < stop]

    def mean(cell: int) -> None:
        centers[cell] = low[members[ends[cell] : ends[cell + 1]]].mean(axis=0, dtype=np.float32)

    _for_each(pool, mean, cells)
    near = np.concatenate(
        [faiss.knn(centers[block], centers, min(_NEAR, len(centers)))[1] for block in blocks(centers)]
    )
    moved = np.empty_like(label)

    def move(cell: int) -> None:
        rows = members[ends[cell] : ends[cell + 1]]
        nearest = faiss.knn(low[rows].astype(np.float32), centers[near[cell]], 1)[1][:, 0]
        moved[rows] = near[cell][nearest]

    _for_each(pool, move, cells)
    return moved


def _cut(label: IntArray) -> IntArray:
    """Cut cells that are too large into pieces, and number those that have rows."""
    members, ends = _by_cell(label)
    cut = np.empty_like(label)
    made = 0
    for start, stop in pairwise(ends):
        pieces = -(-(stop - start) // (_LARGEST_CELL * CELL_ROWS))
        if pieces:
            cut[members[start:stop]] = made + np.arange(stop - start) * pieces // (stop - start)
            made += pieces
    return cut


def _by_cell(label: IntArray) -> tuple[IntArray, IntArray]:
    """Rows sorted by cell, and the ends of the cells among them."""
    return np.argsort(label, kind="stable"), _ends(np.bincount(label))


def _for_each(pool: Executor, work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do work for each item, some of them at a time; the first error is raised."""
    step = max(1, len(items) // 256)
    some = [items[start : start + step] for start in range(0, len(items), step)]
    for _ in pool.map(lambda own: list(map(work, own)), some):
        pass


def _centers(rows: Array, count: int, seed: int) -> FloatArray:
    """(count, d) centres, by a few steps of k-means on a sample."""
    faiss = load_faiss()

    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE_A_CELL,
    )
    kmeans.train(rows.astype(np.float32, copy=False))
    centers: FloatArray = kmeans.centroids
    return centers


def _stored(X: Rows, frame: _Frame, order: IntArray, ends: IntArray, pool: Executor) -> Cells:
    """Rotate all rows and put each at its place."""
    import torch

    n_rows, width = X.shape
    axes = min(LEAD, width)
    kind = torch.bfloat16 if choose_precision("auto", "cpu") == "bfloat16" else torch.float32
    if isinstance(X, np.memmap):
        _check_scratch(n_rows * (4 * axes + kind.itemsize * (width - axes)))
    scratch: list[Array] = []

    def made(columns: int, kind: torch.dtype) -> torch.Tensor:
        if not isinstance(X, np.memmap) or not columns:
            return torch.empty((n_rows, columns), dtype=kind)
        scratch.append(_scratch(n_rows, columns, kind.itemsize))
        return torch.from_numpy(scratch[-1]).view(kind)

    lead, rest, squares = made(axes, torch.float32), made(width - axes, kind), torch.empty(n_rows)
    place = np.empty(n_rows, dtype=np.int64)
    place[order] = np.arange(n_rows)

    def work(block: slice) -> None:
        rotated = torch.from_numpy(frame.rotated(block_rows(X, block), width))
        there = torch.from_numpy(place[block])
        lead[there] = rotated[:, :axes]
        rest[there] = rotated[:, axes:].to(kind)
        squares[there] = rotated.square().sum(1)
        for part in scratch:
            release(part)

    _for_each(pool, work, blocks(X))
    means = torch.empty(len(ends) - 1, width)

    def mean(cell: int) -> None:
        own = slice(int(ends[cell]), int(ends[cell + 1]))
        means[cell, :axes], means[cell, axes:] = lead[own].mean(0), rest[own].float().mean(0)
        if not cell % 256:
            for part in scratch:
                release(part)

    _for_each(pool, mean, range(len(means)))
    return Cells(
        lead=lead,
        rest=rest,
        squares=squares,
        order=order,
        ends=ends,
        center_lead=means[:, :axes].contiguous(),
        center_rest=means[:, axes:].to(kind),
        center_squares=means.square().sum(1),
        scratch=tuple(scratch),
    )


def _scratch(n_rows: int, columns: int, itemsize: int) -> Array:
    """An (n, columns) memory map of a file that ends with the process."""
    kind = np.float32 if itemsize == 4 else np.int16  # numpy has no bfloat16
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # writing to a map whose disk is full ends the process
            try:
                os.posix_fallocate(file.fileno(), 0, n_rows * columns * itemsize)
            except OSError as error:
                raise _no_room(n_rows * columns * itemsize) from error
        return np.memmap(file, dtype=kind, mode="w+", shape=(n_rows, columns))


def _check_scratch(need: int) -> None:
    if need > shutil.disk_usage(tempfile.gettempdir()).free:
        raise _no_room(need)


def _no_room(need: int) -> InputError:
    folder = tempfile.gettempdir()
    free = said(shutil.disk_usage(folder).free)
    rule = f"a scratch file of {said(need)} is needed for memory-mapped rows, and {free} are free"
    return InputError("TMPDIR", rule, folder, hint="Name another folder in TMPDIR, or use fewer rows")


def _ends(sizes: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(sizes)])
