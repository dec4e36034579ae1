"""Approximate nearest neighbours: exact among the rows of the cells that a row is near."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fused_clip.method.clusterer.cells import Cells, make_cells
from fused_clip.method.clusterer.neighbors import nearest_rows, with_themselves
from fused_clip.support import threads
from fused_clip.support.arrays import FloatArray, IntArray, Rows

if TYPE_CHECKING:
    import torch

RECALL = 0.992  # share of a sample's neighbours that are in the cells that rows are compared with
FEWEST_PROBES, MOST_PROBES = 12, 28  # cells that a row is compared with
MANY_ROWS, MOST_OF_MANY = 300_000, 16  # rows beyond which it is compared with no more cells than these
_SAMPLE = 512  # rows, compared with all rows
_OWN = 2  # of these, the nearest to the row's own cell: they give the distance that others must stay below
_NEAR = 256  # cells among which a row's probes are found: those nearest to its own
_CHUNK = 32_768  # rows that are searched for together
_CELLS_AT_A_TIME = 256  # whose pages of a scratch file are in memory
# oneDNN compiles code for each shape of a product. So sizes are multiples of this, which makes few shapes;
# the part of a product that was not asked for is not used.
_SHAPE = 64
_MOST_HITS = 60 * _CHUNK  # of a chunk, before they are cut to the nearest ones


class CellNeighbors(NamedTuple):
    """Neighbours of rows that are sorted by cells.

    Parameters
    ----------
    neighbors : (n, k) neighbours of each sorted row, as numbers of sorted rows, itself among them.
    order : (n,) numbers of the sorted rows before sorting.
    cells : (n,) cell of each sorted row, ascending.
    recall : share of a sample's neighbours that are in the cells that rows were compared with, in (0, 1].
    """

    neighbors: IntArray
    order: IntArray
    cells: IntArray
    recall: float


def approximate_neighbors(X: Rows, n_neighbors: int, seed: int) -> IntArray:
    """Find rows near each row, the row itself among them; a seed gives the same ones however many threads.

    An inverted file (Sivic and Zisserman, "Video Google", 2003, doi:10.1109/ICCV.2003.1238663): a row is
    compared with all rows of the cells of about 300 rows whose centres are nearest to it. There are 12 to 28
    of these cells, of more than 300,000 rows 12 to 16: as many as hold .992 of the neighbours of 512 rows,
    which are compared with all rows. With 12 cells or fewer nothing is missed. It is searched cell by cell,
    so that all comparisons are matrix products: in float32 along the 32 principal axes of most variance;
    along the others, whose products are small, in bfloat16 where the processor multiplies in it. The rows of
    a row's own and the next cell give a distance; of the others only nearer ones are kept.

    Parameters
    ----------
    X : (n, d) finite rows, float32 or float64, or a memory map of floats.
    n_neighbors : in [1, n].
    seed : of the samples and of k-means.

    Returns
    -------
    (n, n_neighbors) row numbers.

    Raises
    ------
    InputError
        As `cell_neighbors`.
    """
    found = cell_neighbors(X, n_neighbors, seed)
    neighbors = np.empty_like(found.neighbors)
    neighbors[found.order] = found.order[found.neighbors]
    return neighbors


def cell_neighbors(X: Rows, n_neighbors: int, seed: int) -> CellNeighbors:
    """Find what `approximate_neighbors` finds, in the order of the cells, where near rows are near in memory.

    Parameters
    ----------
    X, n_neighbors, seed : as there.

    Raises
    ------
    InputError
        If the scratch file of a memory map has no room on the disk, or a row is not finite.
    """
    cells = make_cells(X, seed)
    starts = range(0, len(X), _CHUNK)
    neighbors = np.empty((len(X), n_neighbors), _kind(len(X)))
    with threads.workers() as pool:
        search, recall = _Search.of(cells, n_neighbors, seed, pool)
        for start, found in zip(starts, pool.map(search.chunk, starts), strict=True):
            neighbors[start : start + _CHUNK] = found
    short = (neighbors < 0).any(axis=1)
    if short.any():
        place = np.argsort(cells.order)
        neighbors[short] = place[nearest_rows(X[cells.order[short]], X, n_neighbors)]
    return CellNeighbors(with_themselves(neighbors), cells.order, cells.cell_of_row, recall)


class _Hits(NamedTuple):
    """Rows of a chunk, each with a sorted row and the score of its distance."""

    rows: IntArray
    found: IntArray
    scores: FloatArray


@dataclass(frozen=True)
class _Search:
    """Search among cells; a score is a squared distance less the squared length of the row that asks.

    Parameters
    ----------
    cells : sorted rows.
    count : neighbours of each row.
    near : (c, m) cells nearest to each, itself first, by their centres.
    probes : number of cells, at most, that a row is compared with.
    """

    cells: Cells
    count: int
    near: IntArray
    probes: int

    @classmethod
    def of(cls, cells: Cells, count: int, seed: int, pool: Executor) -> "tuple[_Search, float]":
        """Make a search that finds `RECALL` of the neighbours where it can; and the share that it finds."""
        import torch

        n_cells = len(cells.ends) - 1
        near = np.empty((n_cells, min(_NEAR, n_cells)), dtype=np.int64)
        for start in range(0, n_cells, 1024):
            block = slice(start, min(start + 1024, n_cells))
            asking = cells.center_lead[block], cells.center_rest[block]
            scores = _scores(asking, cells.center_lead, cells.center_rest, cells.center_squares)
            scores[torch.arange(len(scores)), torch.arange(start, block.stop)] = -torch.inf
            near[block] = torch.topk(scores, near.shape[1], largest=False)[1].numpy()
        most = MOST_PROBES if len(cells.order) <= MANY_ROWS else min(MOST_PROBES, MOST_OF_MANY)
        search = cls(cells, count, near, most)
        ranks = search._ranks(seed, pool)
        reached = np.cumsum(np.bincount(ranks, minlength=most + 1)[:most]) / len(ranks)
        probes = max(FEWEST_PROBES, min(most, int(np.searchsorted(reached, RECALL)) + 1))
        return replace(search, probes=probes), float(reached[probes - 1])

    def _ranks(self, seed: int, pool: Executor) -> IntArray:
        """Of the neighbours of a sample: the place of their cell among those nearest to the row that asks."""
        cells = self.cells
        n_rows = len(cells.order)
        rows = np.sort(np.random.default_rng(seed).choice(n_rows, min(n_rows, _SAMPLE), replace=False))
        parts = list(pool.map(partial(self._nearest_in, rows), range(0, n_rows, _CHUNK)))
        scores, found = (np.hstack(part) for part in zip(*parts, strict=True))
        best = np.argpartition(scores, self.count - 1, axis=1)[:, : self.count]
        cell_of_row = cells.cell_of_row
        owners = cell_of_row[np.take_along_axis(found, best, axis=1)]
        probes = np.full((len(rows), self.probes), -1)
        for place, (row, cell) in enumerate(zip(rows, cell_of_row[rows], strict=True)):
            chosen = self._probed(cell, slice(row, row + 1))
            probes[place, : chosen.shape[1]] = chosen
        there = owners[:, :, None] == probes[:, None]
        ranks: IntArray = np.where(there.any(axis=2), there.argmax(axis=2), self.probes).ravel()
        return ranks

    def _nearest_in(self, rows: IntArray, start: int) -> tuple[FloatArray, IntArray]:
        """Scores and numbers of the rows of a chunk that are nearest to each of some rows."""
        import torch

        cells, there = self.cells, torch.from_numpy(rows)
        members = slice(start, start + _CHUNK)
        asking = cells.lead[there], cells.rest[there]
        scores = _scores(asking, cells.lead[members], cells.rest[members], cells.squares[members])
        values, places = torch.topk(scores, min(self.count, scores.shape[1]), largest=False, sorted=False)
        cells.release()
        return values.numpy(), start + places.numpy()

    def _probed(self, cell: int, rows: slice) -> IntArray:
        """(m, p) cells that rows of a cell are compared with, nearest first."""
        import torch

        cells, near = self.cells, torch.from_numpy(self.near[cell])
        centers = (part[near] for part in (cells.center_lead, cells.center_rest, cells.center_squares))
        asking, kept = self._padded(rows.start, rows.stop)
        scores = _scores((cells.lead[asking], cells.rest[asking]), *centers)[kept]
        places = torch.topk(scores, min(self.probes, len(near)), largest=False)[1].numpy()
        chosen: IntArray = self.near[cell][places]
        return chosen

    def chunk(self, start: int) -> IntArray:
        """Neighbours of the rows of a chunk, (m, count), -1 where there are too few."""
        stop = min(start + _CHUNK, len(self.cells.order))
        probes = np.full((stop - start, self.probes), -1)
        limits = np.full(stop - start, np.inf, dtype=np.float32)
        hits = [self._own(start, own, probes, limits) for own in self._parts(start, stop)]
        held = sum(len(hit.rows) for hit in hits)
        for asked, (cell, rows) in enumerate(_by_cell(probes)):
            hits.append(self._others(start, rows, cell, limits))
            if not asked % _CELLS_AT_A_TIME:
                self.cells.release()
            held += len(hits[-1].rows)
            if held > _MOST_HITS:
                hits = [self._nearest(hits, limits)]
                held = len(hits[0].rows)
        found = np.full((stop - start, self.count), -1, dtype=_kind(len(self.cells.order)))
        best = self._nearest(hits, limits)
        found[best.rows, _places(best.rows)] = best.found
        self.cells.release()
        return found

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Cells that a chunk overlaps, each with the rows in both."""
        ends = self.cells.ends
        first, last = np.searchsorted(ends, [start, stop - 1], side="right") - 1
        for cell in range(first, last + 1):
            if ends[cell] < ends[cell + 1]:
                yield cell, max(start, int(ends[cell])), min(stop, int(ends[cell + 1]))

    def _own(self, start: int, own: tuple[int, int, int], probes: IntArray, limits: FloatArray) -> _Hits:
        """Compare rows of a cell with those of its nearest cells; set their probes and limits."""
        import torch

        cells, (cell, first, last) = self.cells, own
        inside = slice(first - start, last - start)
        chosen = self._probed(cell, slice(first, last))
        probes[inside, : chosen.shape[1]] = np.where(np.isin(chosen, self.near[cell][:_OWN]), -1, chosen)
        ranges = [np.arange(cells.ends[one], cells.ends[one + 1]) for one in self.near[cell][:_OWN]]
        members = np.concatenate(ranges)
        there = torch.from_numpy(_filled(members))
        asking, kept = self._padded(first, last)
        scores = _scores(
            (cells.lead[asking], cells.rest[asking]),
            cells.lead[there],
            cells.rest[there],
            cells.squares[there],
        )[kept, : len(members)]
        values, places = torch.topk(scores, min(self.count, len(members)), largest=False, sorted=False)
        if len(members) >= self.count:
            limits[inside] = values.amax(1).numpy()
        rows = np.repeat(np.arange(inside.start, inside.stop), values.shape[1])
        return _Hits(rows, members[places.numpy()].ravel(), values.numpy().ravel())

    def _others(self, start: int, rows: IntArray, cell: int, limits: FloatArray) -> _Hits:
        """Compare rows of a chunk with those of a cell; keep those below their limits."""
        import torch

        cells = self.cells
        first, count = int(cells.ends[cell]), int(cells.ends[cell + 1] - cells.ends[cell])
        members, kept = self._padded(first, first + count)
        there = torch.from_numpy(start + _filled(rows))
        asking = cells.lead[there], cells.rest[there]
        padded = _scores(asking, cells.lead[members], cells.rest[members], cells.squares[members])
        scores = padded.numpy()[: len(rows), kept]
        # Several times as fast as np.nonzero of two dimensions.
        which, found = np.divmod(np.flatnonzero(scores < limits[rows, None]), count)
        return _Hits(rows[which], first + found, scores[which, found])

    def _padded(self, first: int, last: int) -> tuple[slice, slice]:
        """Sorted rows that contain some, of a number that few products have, and those among them."""
        n_rows = len(self.cells.order)
        width = min(-(-(last - first) // _SHAPE) * _SHAPE, n_rows)
        left = min(first, n_rows - width)
        return slice(left, left + width), slice(first - left, last - left)

    def _nearest(self, hits: list[_Hits], limits: FloatArray) -> _Hits:
        """Keep the nearest of each row, rows ascending, and lower the limits to the last of them."""
        rows, found, scores = (np.concatenate(part) for part in zip(*hits, strict=True))
        # One sort of whole numbers instead of two stable ones: the order of floats is that of their bits once
        # the sign bit is turned, and the others too of negative ones.
        bits = scores.view(np.uint32)
        ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        order = np.argsort(rows.astype(np.uint64) << np.uint64(32) | ascending)
        order = order[_places(rows[order]) < self.count]
        kept = _Hits(rows[order], found[order], scores[order])
        full = np.flatnonzero(_places(kept.rows) == self.count - 1)
        limits[kept.rows[full]] = kept.scores[full]
        return kept


def _scores(
    asking: tuple["torch.Tensor", "torch.Tensor"],
    lead: "torch.Tensor",
    rest: "torch.Tensor",
    squares: "torch.Tensor",
) -> "torch.Tensor":
    """(m, n) squared distances less the squared lengths of the asking rows, float32."""
    import torch

    scores = torch.addmm(squares, asking[0], lead.T, alpha=-2)
    if rest.shape[1]:
        scores.sub_(asking[1] @ rest.T, alpha=2)
    return scores


def _by_cell(probes: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each probed cell with the rows that probe it; -1 is no cell."""
    asked = np.flatnonzero(probes.ravel() >= 0)
    cells = probes.ravel()[asked]
    asked = asked[np.argsort(cells, kind="stable")]
    names, starts = np.unique(probes.ravel()[asked], return_index=True)
    ends = [*starts[1:].tolist(), len(asked)]
    for cell, start, end in zip(names.tolist(), starts.tolist(), ends, strict=False):  # no names: one end
        yield cell, asked[start:end] // probes.shape[1]


def _filled(rows: IntArray) -> IntArray:
    """Repeat the last of some rows until their number is one that few products have."""
    filled = np.full(-(-len(rows) // _SHAPE) * _SHAPE, rows[-1])
    filled[: len(rows)] = rows
    return filled


def _places(rows: IntArray) -> IntArray:
    """Place of each entry among those of its row; rows ascend."""
    counts = np.bincount(rows)
    places: IntArray = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places


def _kind(n_rows: int) -> type[np.signedinteger]:
    """The smallest type that numbers of rows have room in."""
    return np.int32 if n_rows < 2**31 else np.int64
