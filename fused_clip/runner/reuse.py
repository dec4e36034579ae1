"""Cells that are finished: found by a hash of all that determines their result."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.runner import artifacts
from fused_clip.runner.config import Options, locate
from fused_clip.support.axes import PLACES_AND_EXTRAS
from fused_clip.support.files import locked, sha256, write_atomic
from fused_clip.support.versions import code_version, versions

_CODE = ("audit", "estimator", "pipeline", "method", "metrics", "model")  # modules that compute results
_LIBRARIES = ("faiss-cpu", "numpy", "scikit-learn", "scipy")
_NOT_RESULTS = ("fused_clip.log", "record.json")


@dataclass(frozen=True)
class Finished:
    """A cell that ran to its end.

    Parameters
    ----------
    directory : the run's directory.
    run_id : of the run in the tracking store; empty without one.
    metrics : all that it measured, with its timings.
    """

    directory: Path
    run_id: str
    metrics: dict[str, float]


class _Note(BaseModel):
    """What is noted of a finished cell.

    Parameters
    ----------
    extras : what the run left besides what every run leaves.
    files : SHA-256 (hex) of each of the run's files.
    """

    directory: Path
    run_id: str
    extras: dict[str, str]
    files: dict[str, str]


def cell_key(options: Options, dataset: ImageDataset, backbone_fingerprint: str) -> str:
    """SHA-256 (hex) of all that determines a cell's result.

    These are the options, the data with the names of their rows, the backbone, the libraries that compute,
    the version of the method's code, and the files that define parts from outside this package. Where things
    are kept, how they are tracked and what is drawn do not count.

    Raises
    ------
    InputError
        If a part can't be imported.
    """
    chosen = options.model_dump(mode="json", by_alias=True, exclude=set(PLACES_AND_EXTRAS))
    facts = {
        "options": chosen,
        "data": dataset.fingerprint,
        "rows": _hash([*dataset.train.ids, *dataset.test.ids]),
        "skipped": _hash(dataset.skipped),
        "backbone": backbone_fingerprint,
        "method": code_version(_CODE),
        "libraries": versions(_LIBRARIES),
        "code": {target: _source_hash(target) for target in _foreign_targets(chosen)},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def find(
    output_dir: Path, key: str, extras: Mapping[str, str], has_finished: Callable[[str], bool]
) -> Finished | None:
    """Find a finished cell that can take the place of a new run.

    Every file that it left must be there, unchanged.

    Parameters
    ----------
    extras : what a new run would leave besides what every run leaves; the finished one must have it.
    has_finished : tells whether the tracking store has a run of that id as finished.
    """
    for note in _notes(output_dir, key):
        if not extras.items() <= note.extras.items():
            continue
        if any(sha256(note.directory / name) != digest for name, digest in note.files.items()):
            continue
        if has_finished(note.run_id):
            return Finished(note.directory, note.run_id, artifacts.read_metrics(note.directory))
    return None


def keep(output_dir: Path, key: str, directory: Path, run_id: str, extras: Mapping[str, str]) -> None:
    """Note that the cell in a directory has all its results; the note is written whole or not at all.

    Each of several runs of a cell has its own note: it may be recorded elsewhere, or never be FINISHED.

    Raises
    ------
    InputError
        If it can't be written.
    """
    files = {str(path.relative_to(directory)): sha256(path) or "" for path in _results(directory)}
    note = _Note(directory=directory, run_id=run_id, extras=dict(extras), files=files)
    path = output_dir / "finished" / f"{key}-{_hash([str(directory)])[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, note.model_dump_json(indent=1).encode())


def lock_cell(output_dir: Path, key: str, name: str) -> AbstractContextManager[bool]:
    """Keep other processes from running the same cell; they wait, and find it finished."""
    return locked(output_dir / "finished" / ".locks" / f"{key}.lock", what=name)


def _notes(output_dir: Path, key: str) -> Iterator[_Note]:
    """What is noted of the runs of a cell and can be read, newest first."""
    paths = (output_dir / "finished").glob(f"{key}-*.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with suppress(ValidationError):
            yield _Note.model_validate_json(path.read_bytes())


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _results(directory: Path) -> list[Path]:
    """Files of a run in a fixed order, without Hydra's and those that are written to afterwards."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    inside = [path.relative_to(directory).parts for path in paths]
    return [
        path
        for path, parts in zip(paths, inside, strict=True)
        if not parts[0].startswith(".") and path.name not in _NOT_RESULTS
    ]


def _foreign_targets(options: Any) -> Iterator[str]:
    """Names of the parts that are not from this package."""
    if isinstance(options, Mapping):
        target = options.get("_target_", "")
        if isinstance(target, str) and target and not target.startswith("fused_clip."):
            yield target
    if isinstance(options, (Mapping, list)):
        for value in options.values() if isinstance(options, Mapping) else options:
            yield from _foreign_targets(value)


def _source_hash(target: str) -> str:
    """Hash of the file that defines a part; empty for what is not written in Python."""
    try:
        source = inspect.getsourcefile(locate("code", target))
    except TypeError:
        return ""
    return (sha256(Path(source)) or "") if source else ""
