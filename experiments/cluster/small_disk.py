"""A disk that is small, so that it can get full."""

# ruff: noqa: S603, S607

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK = "400m"


@contextmanager
def small_disk(at: Path, size: str = DISK) -> Iterator[Path]:
    """Mount a small file system in memory.

    Parameters
    ----------
    at : folder; made if it is missing.
    size : of it, as of ``mount``.
    """
    at.mkdir(parents=True, exist_ok=True)
    if at.is_mount():
        subprocess.run(["umount", "--lazy", str(at)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=False)
