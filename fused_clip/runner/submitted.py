"""Sweeps that an engine runs after the command has ended: where it keeps its files, and how to go on."""

import shlex
from pathlib import Path

from fused_clip.engine.submissions import arrays_of, submitted


def engine_folder(directory: Path) -> Path:
    """Give the folder of the engine's files and logs.

    Parameters
    ----------
    directory : of the sweep.
    """
    return directory / "slurm"


def is_submitted(directory: Path) -> bool:
    """Whether Slurm was asked to run a sweep.

    Parameters
    ----------
    directory : of the sweep.
    """
    return bool(submitted(engine_folder(directory)))


def owner(directory: Path) -> str:
    """Name what runs a sweep, such as ``Slurm array 123``.

    Parameters
    ----------
    directory : of the sweep.
    """
    ids = arrays_of(engine_folder(directory))
    return f"Slurm array{'s' if len(ids) > 1 else ''} {', '.join(ids)}"


def print_next_steps(directory: Path) -> None:
    """Print where a sweep runs, and the commands that show it, end it, and run missing cells.

    Parameters
    ----------
    directory : of the sweep.
    """
    place = shlex.quote(str(directory))
    print(f"The sweep in {directory} runs as {owner(directory)}.")
    print(f"How far it is:        fused-clip-sweep status {place}")
    print(f"Its table at the end: fused-clip-sweep collect {place}")
    print(f"Run missing cells:    fused-clip-sweep resubmit {place}")
