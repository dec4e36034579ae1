"""Cells that a row is compared with: those whose centres are nearest, as many as a sample asks for."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fused_clip.method.clusterer.cells import Cells
from fused_clip.method.clusterer.coordinates import padded
from fused_clip.support.arrays import FloatArray, IntArray
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.threads import for_each

if TYPE_CHECKING:
    import torch

RECALL = 0.992  # share of a sample's neighbours that are in the cells that rows are compared with
FEWEST, MOST = 12, 40  # cells that a row is compared with
MOST_OF_MANY, OF_ALL_ROWS = 16, 8_400_000  # of many rows, 16 each or as many as this allows all rows together
_SAMPLE = 512  # rows, compared with all rows
_NEAR = 256  # cells among which a row's probes are found: those nearest to its own
_PART, _AT_A_TIME = 32_768, 1024  # rows that the sample is compared with: few, whose scores stay in the cache
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
        most = min(MOST, max(MOST_OF_MANY, OF_ALL_ROWS // len(cells.order)))
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
        scores, found = self._nearest_of_parts(rows, n_neighbors, pool)
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

    def _nearest_of_parts(self, rows: IntArray, count: int, pool: Executor) -> tuple[FloatArray, IntArray]:
        """Scores and numbers of the rows of each part of all that are nearest to some rows, side by side."""
        import torch

        parts = list(row_blocks(len(self.cells.order), _PART))
        # Made before the threads work: what they keep lies between what they free, which the system then
        # does not get back.
        scores = np.full((len(rows), len(parts) * count), np.inf, dtype=np.float32)
        found = np.zeros(scores.shape, dtype=np.int64)
        asking = self.cells.rows.at(rows)

        def find(number: int, part: slice) -> None:
            near = []
            for start in range(part.start, part.stop, _AT_A_TIME):
                members = slice(start, min(start + _AT_A_TIME, part.stop))
                values, places = _nearest(asking.scores(self.cells.rows.at(members)), count)
                near.append((values, start + places))
            values, numbers = (torch.hstack(some) for some in zip(*near, strict=True))
            values, places = _nearest(values, count)
            there = slice(number * count, number * count + values.shape[1])
            scores[:, there], found[:, there] = values.numpy(), numbers.gather(1, places).numpy()
            self.cells.release()

        for_each(pool, find, list(enumerate(parts)))
        return scores, found


def _nearest(scores: "torch.Tensor", count: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """The least scores of each row and their places, at most `count`."""
    import torch

    least = torch.topk(scores, min(count, scores.shape[1]), largest=False, sorted=False)
    return least.values, least.indices


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
