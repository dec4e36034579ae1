"""Memory maps: reading rows block by block, letting their pages go, and scratch files."""

import mmap
import os
import shutil
import tempfile

import numpy as np

from fused_clip.support.arrays import Array, Rows
from fused_clip.support.errors import InputError
from fused_clip.support.many_rows import row_blocks
from fused_clip.support.memory import size as said

_BLOCK_BYTES = 1 << 26


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


def scratch_file(n_rows: int, columns: int, kind: type[np.generic]) -> Array:
    """Make an (n, columns) memory map of a file in ``TMPDIR`` that ends with the process.

    Parameters
    ----------
    n_rows, columns : its shape.
    kind : of its entries.

    Raises
    ------
    InputError
        If the disk has no room for it.
    """
    need = n_rows * columns * np.dtype(kind).itemsize
    check_room(need)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # writing to a map whose disk is full ends the process
            try:
                os.posix_fallocate(file.fileno(), 0, need)
            except OSError as error:
                raise _no_room(need) from error
        return np.memmap(file, dtype=kind, mode="w+", shape=(n_rows, columns))


def check_room(need: int) -> None:
    """Check that scratch files have room.

    Parameters
    ----------
    need : bytes of all of them.

    Raises
    ------
    InputError
        If the disk has no room.
    """
    if need > shutil.disk_usage(tempfile.gettempdir()).free:
        raise _no_room(need)


def _no_room(need: int) -> InputError:
    folder = tempfile.gettempdir()
    free = said(shutil.disk_usage(folder).free)
    rule = f"a scratch file of {said(need)} is needed for memory-mapped rows, and {free} are free"
    return InputError("TMPDIR", rule, folder, hint="Name another folder in TMPDIR, or use fewer rows")
