"""Cells that a row is compared with: those whose centres are nearest, as many as a sample asks for."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fused_clip.method.clusterer.cells import Cells
from fused_clip.method.clusterer.coordinates import padded
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.threads import for_each

RECALL = 0.992  # share of a sample's neighbours that are in the cells that rows are compared with
FEWEST, MOST = 12, 28  # cells that a row is compared with
MANY_ROWS, MOST_OF_MANY = 300_000, 16  # rows beyond which it is compared with no more cells than these
_SAMPLE = 512  # rows, compared with all rows
_NEAR = 256  # cells among which a row's probes are found: those nearest to its own
_AT_A_TIME = 1024  # rows that the sample is compared with: their scores stay in the cache
_CENTERS = 256  # cells whose nearest ones are found together


@dataclass(frozen=True)
class Probes:
    """Finds the cells that a row is compared with.

    Parameters
    ----------
    cells : sorted rows.
    near : (c, m) cells nearest to each, itself first, by their centres.
    count : number of cells, at most, that a row is compared with.
    """

    cells: Cells
    near: IntArray
    count: int

    @classmethod
    def of(cls, cells: Cells, n_neighbors: int, seed: int, pool: Executor) -> "tuple[Probes, float]":
        """Make probes that reach `RECALL` of the neighbours where they can; and the share that they reach.

        Parameters
        ----------
        cells : sorted rows.
        n_neighbors : of each row.
        seed : of the sample.
        pool : does parts of the work side by side.
        """
        most = MOST if len(cells.order) <= MANY_ROWS else min(MOST, MOST_OF_MANY)
        widest = cls(cells, _nearest_cells(cells, pool), most)
        ranks = widest._ranks(n_neighbors, seed, pool)
        reached = np.cumsum(np.bincount(ranks, minlength=most + 1)[:most]) / len(ranks)
        count = max(FEWEST, min(most, int(np.searchsorted(reached, RECALL)) + 1))
        return replace(widest, count=count), float(reached[count - 1])

    def nearest(self, cell: int, rows: slice) -> IntArray:
        """Find the cells that rows of a cell are compared with: (m, p), nearest first.

        Parameters
        ----------
        cell : number of the cell.
        rows : m sorted rows of it.
        """
        import torch

        near = self.near[cell]
        asking, kept = padded(rows.start, rows.stop, len(self.cells.order))
        scores = self.cells.rows.at(asking).scores(self.cells.centers.at(near))[kept]
        chosen: IntArray = near[torch.topk(scores, min(self.count, len(near)), largest=False)[1].numpy()]
        return chosen

    def _ranks(self, n_neighbors: int, seed: int, pool: Executor) -> IntArray:
        """Of the neighbours of a sample: the place of their cell among those nearest to the row that asks."""
        n_rows = len(self.cells.order)
        rows = np.sort(np.random.default_rng(seed).choice(n_rows, min(n_rows, _SAMPLE), replace=False))
        starts = range(0, n_rows, _AT_A_TIME)
        parts = list(pool.map(partial(self._nearest_in, rows, n_neighbors), starts))
        scores, found = (np.hstack(part) for part in zip(*parts, strict=True))
        best = np.argpartition(scores, n_neighbors - 1, axis=1)[:, :n_neighbors]
        cell_of_row = self.cells.cell_of_row
        owners = cell_of_row[np.take_along_axis(found, best, axis=1)]
        probes = np.full((len(rows), self.count), -1)
        for place, (row, cell) in enumerate(zip(rows, cell_of_row[rows], strict=True)):
            chosen = self.nearest(cell, slice(row, row + 1))
            probes[place, : chosen.shape[1]] = chosen
        there = owners[:, :, None] == probes[:, None]
        ranks: IntArray = np.where(there.any(axis=2), there.argmax(axis=2), self.count).ravel()
        return ranks

    def _nearest_in(self, rows: IntArray, n_neighbors: int, start: int) -> tuple[FloatArray, IntArray]:
        """Scores and numbers of the rows of a part of all that are nearest to each of some rows."""
        import torch

        members = slice(start, start + _AT_A_TIME)
        scores = self.cells.rows.at(rows).scores(self.cells.rows.at(members))
        values, places = torch.topk(scores, min(n_neighbors, scores.shape[1]), largest=False, sorted=False)
        self.cells.release()
        return values.numpy(), start + places.numpy()


def _nearest_cells(cells: Cells, pool: Executor) -> IntArray:
    """(c, m) cells nearest to each, itself first, by their centres."""
    import torch

    n_cells = len(cells.ends) - 1
    near = np.empty((n_cells, min(_NEAR, n_cells)), dtype=np.int64)

    def find(block: slice) -> None:
        scores = cells.centers.at(block).scores(cells.centers)
        scores[torch.arange(len(scores)), torch.arange(block.start, block.stop)] = -torch.inf
        near[block] = torch.topk(scores, near.shape[1], largest=False)[1].numpy()

    for_each(pool, find, list(row_blocks(n_cells, _CENTERS)))
    return near
