"""Rows of a .npy file, read from disk where they are needed."""

from pathlib import Path

import numpy as np

from fused_clip.support.arrays import Array, FloatArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks

_TYPES = ("float16", "float32", "float64")


class MappedRows:
    """A matrix in a ``.npy`` file as float32 rows; the file is mapped anew for each block of rows.

    Pages of a map that stays open would count as memory of the process.

    Parameters
    ----------
    option : names the file in errors.
    file : ``.npy`` file with a matrix of float16, float32 or float64 in C order.

    Raises
    ------
    InputError
        If it is another file, or shorter than its header says.
    """

    def __init__(self, option: str, file: Path) -> None:
        self.option, self.file = option, file
        found = _opened(option, file)
        self.shape, self._dtype = found.shape, found.dtype
        if found.dtype.name not in _TYPES:
            rule = f"{file} must be of {', '.join(_TYPES[:-1])} or {_TYPES[-1]}"
            raise InputError(option, rule, str(found.dtype), hint="Convert it with array.astype('float32')")
        if found.ndim != 2 or not found.size:
            raise InputError(option, f"{file} must be a matrix, one row an image", f"shape {found.shape}")
        if not found.flags.c_contiguous:
            hint = "Save numpy.ascontiguousarray(array)"
            raise InputError(option, f"{file} must be in C order, row by row", "Fortran order", hint=hint)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: IntArray | slice) -> FloatArray:
        """Read rows: (m, d) float32."""
        positions = np.arange(len(self))[rows]
        out = np.empty((len(positions), self.shape[1]), np.float32)
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is checked
            for block in row_blocks(len(positions)):
                out[block] = self._mapped()[positions[block]]
        return out

    def _mapped(self) -> Array:
        found = _opened(self.option, self.file)
        if (found.shape, found.dtype) != (self.shape, self._dtype):
            raise InputError(self.option, "must stay as it is while a run reads it", str(self.file))
        return found


def _opened(option: str, file: Path) -> Array:
    try:
        found: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # np.load raises anything on damaged bytes
        rule = f"must be a whole .npy file of numbers ({type(error).__name__}: {error})"
        raise InputError(option, rule, str(file)) from error
    return found
