"""Calls for tasks of Ray, in a module that its workers can import."""

import os
import sys
import time
from pathlib import Path

from fused_clip.support.errors import InputError


def note(folder: str, number: int) -> None:
    """Write a file of a number, atomically, and say who did."""
    draft = Path(folder, f"{number}.{os.getpid()}")
    draft.write_text("\n".join([os.environ.get("MLFLOW_TRIED", ""), sys.argv[-1]]))
    draft.rename(Path(folder, str(number)))


def mixed(folder: str, number: int) -> None:
    """Fail, or end the process, at some numbers."""
    if number == 2:
        raise InputError("seed", "must not be two", number)
    if number == 3:
        os._exit(1)
    if number == 4:
        raise RuntimeError("first line\nsecond line")
    if number == 5:
        sys.exit("by itself")
    note(folder, number)


def slow(folder: str, number: int) -> None:
    """Take a second, once it is known to have begun."""
    Path(folder, f"begun-{number}-{time.time_ns()}").touch()
    time.sleep(1.0)
    note(folder, number)


def endless(folder: str, number: int) -> None:
    """Run until interrupted, and say so."""
    Path(folder, f"begun-{number}").touch()
    try:
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        Path(folder, f"interrupted-{number}").touch()
        raise
