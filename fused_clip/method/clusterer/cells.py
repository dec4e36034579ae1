"""Rows sorted by small cells of near ones, in memory or, for a memory map, in scratch files."""

from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fused_clip.backbone.device import choose_precision
from fused_clip.method.clusterer.cell_labels import cell_labels
from fused_clip.method.clusterer.coordinates import Coordinates
from fused_clip.method.clusterer.memory_maps import block_rows, blocks, check_room, release, scratch_file
from fused_clip.method.clusterer.openmp import load_faiss
from fused_clip.method.clusterer.principal_axes import PrincipalAxes
from fused_clip.support import threads
from fused_clip.support.arrays import Array, IntArray, Rows
from fused_clip.support.many_rows import inverse
from fused_clip.support.threads import for_each

LEAD = 32  # principal axes along which products are float32; along the others, bfloat16
_CELL_AXES = 64  # principal axes that make the cells
_BUCKET_BYTES = 1 << 28  # of float32 rows


@dataclass(frozen=True)
class Cells:
    """All rows, rotated to their principal axes and sorted so that those of a cell, and near cells, adjoin.

    Parameters
    ----------
    rows : sorted, n of them.
    centers : means of the c cells.
    order : (n,) numbers of the rows before sorting.
    ends : (c + 1,) first row of each cell, and n.
    scratch : memory maps of the scratch files that `rows` are in, if they are.
    """

    rows: Coordinates
    centers: Coordinates
    order: IntArray
    ends: IntArray
    scratch: tuple[Array, ...] = ()

    @property
    def cell_of_row(self) -> IntArray:
        """(n,) cell of each sorted row."""
        return np.repeat(np.arange(len(self.ends) - 1), np.diff(self.ends))

    def release(self) -> None:
        """Let go of the pages of a scratch file that are in memory."""
        _release(self.scratch)


def make_cells(X: Rows, seed: int) -> Cells:
    """Sort rows by small cells of near ones.

    Memory-mapped rows are read twice, block by block.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64, or a memory map of floats.
    seed : of the samples and of k-means.

    Raises
    ------
    InputError
        If the scratch files of a memory map have no room on the disk, or a row is not finite.
    """
    import torch  # noqa: F401 - before its threads are counted

    load_faiss()
    with threads.workers() as pool:
        axes = PrincipalAxes.of(X, seed)
        label = cell_labels(axes.leading(X, _CELL_AXES, pool), seed, pool)
        order = np.argsort(label, kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(label))])
        return _sorted_rows(X, axes, order, ends, pool)


def _sorted_rows(X: Rows, axes: PrincipalAxes, order: IntArray, ends: IntArray, pool: Executor) -> Cells:
    """Rotate all rows and put each at its place.

    They go into buckets, which are ranges of places, in the order in which they are read; then each bucket
    is sorted in memory. So a file is written in long pieces.
    """
    import torch

    width = X.shape[1]
    rows, scratch = _room(X)
    axis = rows.lead.shape[1]
    bounds = _bucket_bounds(ends, 4 * width)
    bucket = np.empty(len(X), np.int32)
    bucket[order] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    read = blocks(X)
    counts = np.array([np.bincount(bucket[block], minlength=len(bounds) - 1) for block in read])
    firsts = bounds[:-1] + np.cumsum(counts, axis=0) - counts
    means = torch.empty(len(ends) - 1, width)

    def put_into_buckets(block: slice, first: IntArray, count: IntArray) -> None:
        rotated = torch.from_numpy(axes.rotated(block_rows(X, block), width))
        rotated = rotated[torch.from_numpy(np.argsort(bucket[block], kind="stable"))]
        lengths = rotated.square().sum(1)
        last = np.cumsum(count)
        for start, stop, place in zip(last - count, last, first, strict=True):
            there = slice(place, place + stop - start)
            rows.lead[there] = rotated[start:stop, :axis]
            rows.rest[there] = rotated[start:stop, axis:].to(rows.rest.dtype)
            rows.squares[there] = lengths[start:stop]
        _release(scratch)

    def sort_bucket(start: int, stop: int) -> None:
        arrived = torch.from_numpy(inverse(np.argsort(order[start:stop])))
        for part in rows:
            part[start:stop] = part[start:stop].index_select(0, arrived)
        for cell in range(*np.searchsorted(ends, [start, stop])):
            own = slice(ends[cell], ends[cell + 1])
            means[cell] = torch.hstack([rows.lead[own].mean(0), rows.rest[own].float().mean(0)])
        _release(scratch)

    for_each(pool, put_into_buckets, list(zip(read, firsts, counts, strict=True)))
    for_each(pool, sort_bucket, list(pairwise(bounds)))
    rest = means[:, axis:].to(rows.rest.dtype)
    centers = Coordinates(means[:, :axis].contiguous(), rest, means.square().sum(1))
    return Cells(rows, centers, order, ends, scratch)


def _room(X: Rows) -> tuple[Coordinates, tuple[Array, ...]]:
    """Room for all rows, and the scratch files that it is in."""
    import torch

    n_rows, width = X.shape
    lead = min(LEAD, width)
    kind = torch.bfloat16 if choose_precision("auto", "cpu") == "bfloat16" else torch.float32
    squares = torch.empty(n_rows)
    if not isinstance(X, np.memmap):
        rest = torch.empty((n_rows, width - lead), dtype=kind)
        return Coordinates(torch.empty(n_rows, lead), rest, squares), ()
    check_room(n_rows * (4 * lead + kind.itemsize * (width - lead)))
    leading = scratch_file(n_rows, lead, np.float32)
    if lead == width:  # a file can't be mapped without bytes
        rest = torch.empty((n_rows, 0), dtype=kind)
        return Coordinates(torch.from_numpy(leading), rest, squares), (leading,)
    # numpy has no bfloat16
    others = scratch_file(n_rows, width - lead, np.int16 if kind.itemsize == 2 else np.float32)
    rows = Coordinates(torch.from_numpy(leading), torch.from_numpy(others).view(kind), squares)
    return rows, (leading, others)


def _bucket_bounds(ends: IntArray, row_bytes: int) -> IntArray:
    """(b + 1,) first row of each bucket of whole cells, and n."""
    n_rows = int(ends[-1])
    count = -(-n_rows * row_bytes // _BUCKET_BYTES)
    return np.unique([0, *ends[np.searchsorted(ends, np.arange(1, count) * n_rows // count)], n_rows])


def _release(scratch: tuple[Array, ...]) -> None:
    for part in scratch:
        release(part)
