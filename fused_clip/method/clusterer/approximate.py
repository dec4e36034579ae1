"""Approximate nearest neighbours: exact among the rows of the cells that a row is near."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fused_clip.method.clusterer.cells import Cells, make_cells
from fused_clip.method.clusterer.coordinates import filled, padded
from fused_clip.method.clusterer.neighbors import nearest_rows, with_themselves
from fused_clip.method.clusterer.probes import Probes
from fused_clip.support import threads
from fused_clip.support.arrays import FloatArray, IntArray, Rows
from fused_clip.support.many_rows import inverse, row_blocks

_OWN = 2  # of a row's probes, the nearest to its own cell: they give the distance others must stay below
_CHUNK = 32_768  # rows that are searched for together
_CELLS_AT_A_TIME = 256  # whose pages of a scratch file are in memory
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
    compared with all rows of the cells of about 300 rows whose centres are nearest to it. There are 12 to 40
    of these cells (of 300,000 rows 12 to 28, of 525,000 or more 12 to 16): as many as hold .992 of the
    neighbours of 512 rows, which are compared with all rows. With 12 cells or fewer nothing is missed. It is
    searched cell by cell, so that all comparisons are matrix products: in float32 along the 32 principal axes
    of most variance; along the others, whose products are small, in bfloat16 where the processor multiplies
    in it. The rows of a row's own and the next cell give a distance; of the others only nearer ones are kept.

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
    chunks = list(row_blocks(len(X), _CHUNK))
    neighbors = np.empty((len(X), n_neighbors), _kind(len(X)))
    with threads.workers() as pool:
        probes, recall = Probes.of(cells, n_neighbors, seed, pool)
        search = _Search(probes, n_neighbors)
        for chunk, found in zip(chunks, pool.map(search.chunk, chunks), strict=True):
            neighbors[chunk] = found
    short = (neighbors < 0).any(axis=1)
    if short.any():
        neighbors[short] = inverse(cells.order)[nearest_rows(X[cells.order[short]], X, n_neighbors)]
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
    probes : cells that each row is compared with.
    count : neighbours of each row.
    """

    probes: Probes
    count: int

    @property
    def cells(self) -> Cells:
        """The sorted rows."""
        return self.probes.cells

    def chunk(self, rows: slice) -> IntArray:
        """Neighbours of the rows of a chunk, (m, count), -1 where there are too few."""
        start, stop = rows.start, rows.stop
        probes = np.full((stop - start, self.probes.count), -1)
        limits = np.full(stop - start, np.inf, dtype=np.float32)
        hits = [self._own(start, own, probes, limits) for own in self._parts(start, stop)]
        held = sum(len(hit.rows) for hit in hits)
        for asked, (cell, asking) in enumerate(_by_cell(probes)):
            hits.append(self._others(start, asking, cell, limits))
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
        nearest = self.probes.near[cell][:_OWN]
        chosen = self.probes.nearest(cell, slice(first, last))
        probes[inside, : chosen.shape[1]] = np.where(np.isin(chosen, nearest), -1, chosen)
        members = np.concatenate([np.arange(cells.ends[one], cells.ends[one + 1]) for one in nearest])
        asking, kept = padded(first, last, len(cells.order))
        scores = cells.rows.at(asking).scores(cells.rows.at(filled(members)))[kept, : len(members)]
        values, places = torch.topk(scores, min(self.count, len(members)), largest=False, sorted=False)
        if len(members) >= self.count:
            limits[inside] = values.amax(1).numpy()
        rows = np.repeat(np.arange(inside.start, inside.stop), values.shape[1])
        return _Hits(rows, members[places.numpy()].ravel(), values.numpy().ravel())

    def _others(self, start: int, rows: IntArray, cell: int, limits: FloatArray) -> _Hits:
        """Compare rows of a chunk with those of a cell; keep those below their limits."""
        cells = self.cells
        first, count = int(cells.ends[cell]), int(cells.ends[cell + 1] - cells.ends[cell])
        members, kept = padded(first, first + count, len(cells.order))
        found = cells.rows.at(start + filled(rows)).scores(cells.rows.at(members))
        scores = found.numpy()[: len(rows), kept]
        # Several times as fast as np.nonzero of two dimensions.
        which, places = np.divmod(np.flatnonzero(scores < limits[rows, None]), count)
        return _Hits(rows[which], first + places, scores[which, places])

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


def _by_cell(probes: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each probed cell with the rows that probe it; -1 is no cell."""
    asked = np.flatnonzero(probes.ravel() >= 0)
    cells = probes.ravel()[asked]
    asked = asked[np.argsort(cells, kind="stable")]
    names, starts = np.unique(probes.ravel()[asked], return_index=True)
    ends = [*starts[1:].tolist(), len(asked)]
    for cell, start, end in zip(names.tolist(), starts.tolist(), ends, strict=False):  # no names: one end
        yield cell, asked[start:end] // probes.shape[1]


def _places(rows: IntArray) -> IntArray:
    """Place of each entry among those of its row; rows ascend."""
    counts = np.bincount(rows)
    places: IntArray = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places


def _kind(n_rows: int) -> type[np.signedinteger]:
    """The smallest type that numbers of rows have room in."""
    return np.int32 if n_rows < 2**31 else np.int64
