"""Coordinates along principal axes, and distances as matrix products of few shapes."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fused_clip.support.arrays import IntArray

if TYPE_CHECKING:
    import torch

# oneDNN compiles code for each shape of a product. So sizes are multiples of this, which makes few shapes;
# the part of a product that was not asked for is not used.
_SHAPE = 64


class Coordinates(NamedTuple):
    """Rows, float32 along the leading axes; along the others, whose products are small, bfloat16 may do.

    Parameters
    ----------
    lead, rest : (n, l) float32 and (n, d - l) float32 or bfloat16, the leading and the other coordinates.
    squares : (n,) squared lengths, float32.
    """

    lead: "torch.Tensor"
    rest: "torch.Tensor"
    squares: "torch.Tensor"

    def at(self, rows: "slice | IntArray") -> "Coordinates":
        """Give some rows.

        Parameters
        ----------
        rows : a slice, or numbers of rows.
        """
        import torch

        if isinstance(rows, slice):
            return Coordinates(*(part[rows] for part in self))
        there = torch.from_numpy(rows)  # to index with it is slow in bfloat16
        return Coordinates(*(part.index_select(0, there) for part in self))

    def scores(self, others: "Coordinates") -> "torch.Tensor":
        """Give squared distances to n other rows less the squared lengths of these m: (m, n) float32.

        Parameters
        ----------
        others : n rows along the same axes.
        """
        import torch

        scores = torch.addmm(others.squares, self.lead, others.lead.T, alpha=-2)
        if self.rest.shape[1]:
            scores.sub_(self.rest @ others.rest.T, alpha=2)
        return scores


def padded(first: int, last: int, n_rows: int) -> tuple[slice, slice]:
    """Rows that contain some, of a number that few products have, and those among them.

    Parameters
    ----------
    first, last : the rows, without the last.
    n_rows : number of all rows.
    """
    width = min(-(-(last - first) // _SHAPE) * _SHAPE, n_rows)
    left = min(first, n_rows - width)
    return slice(left, left + width), slice(first - left, last - left)


def filled(rows: IntArray) -> IntArray:
    """Repeat the last of some rows until their number is one that few products have.

    Parameters
    ----------
    rows : at least one number.
    """
    numbers = np.full(-(-len(rows) // _SHAPE) * _SHAPE, rows[-1])
    numbers[: len(rows)] = rows
    return numbers
