"""Cells that are finished: found by a hash of all that determines their result."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from fused_clip.config import Options

# Raised when a change of the code changes results.
METHOD_VERSION = 1
_PLACES = {"data_dir", "output_dir", "study", "tracking", "resume"}


@dataclass(frozen=True)
class Finished:
    """A cell that ran to its end.

    Parameters
    ----------
    directory : the run's directory.
    metrics : what its ``metrics.json`` holds.
    """

    directory: Path
    metrics: dict[str, float]


def cell_key(options: Options, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """SHA-256 (hex) of the options, the data, the backbone and the version of the method's code.

    Where things are kept and how they are tracked does not count.
    """
    facts = {
        "options": options.model_dump(mode="json", exclude=_PLACES),
        "data": data_fingerprint,
        "backbone": backbone_fingerprint,
        "method": METHOD_VERSION,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def find(output_dir: Path, key: str) -> Finished | None:
    """Find a finished cell whose files are still there."""
    note = output_dir / "finished" / f"{key}.json"
    if not note.is_file():
        return None
    directory = Path(json.loads(note.read_text())["directory"])
    metrics = directory / "metrics.json"
    return Finished(directory, json.loads(metrics.read_text())) if metrics.is_file() else None


def keep(output_dir: Path, key: str, directory: Path) -> None:
    """Note that the cell in a directory is finished; the note is written whole or not at all."""
    note = output_dir / "finished" / f"{key}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"directory": str(directory)}) + "\n")
    os.replace(partial, note)
