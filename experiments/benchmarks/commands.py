"""Runs from the command line, each in a process of its own that imports everything anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks.measure import ROOT


def sweep(folder: str | Path, *arguments: str) -> None:
    """Run a sweep as `run` does a cell."""
    run(folder, "-m", *arguments)


def run(folder: str | Path, *arguments: str) -> None:
    """Run `python -m fused_clip.run ARGUMENTS` in a folder, whose `outputs` it writes to.

    Raises
    ------
    subprocess.CalledProcessError
        If a cell fails.
    """
    command = [sys.executable, "-m", "fused_clip.run", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
