"""Cells that are finished: found by a hash of all that determines their result."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method.prompt import Prompts
from fused_clip.method.words import read_words
from fused_clip.runner import artifacts
from fused_clip.runner.config import Options
from fused_clip.runner.targets import locate
from fused_clip.support.checksums import sealed, unsealed
from fused_clip.support.conf import PLACES_AND_EXTRAS
from fused_clip.support.files import locked, read_regular, sha256, write_atomic
from fused_clip.support.json_files import parse_json
from fused_clip.support.plugins import code_behind, plugin_of
from fused_clip.support.versions import code_version, versions

# Modules that compute results; a backbone's fingerprint stands for the rest of its code.
_CODE = ("audit", "estimator", "pipeline", "method", "metrics", "model", "backbone/learnable")
_SETTLED = 5_000_000_000  # nanoseconds without a change
_LIBRARIES = ("faiss-cpu", "numpy", "scikit-learn", "scipy", "torch")


@dataclass(frozen=True)
class Finished:
    """A cell that ran to its end.

    Parameters
    ----------
    directory : of the run.
    run_id : of the run in the tracking store; empty without one.
    metrics : with timings.
    """

    directory: Path
    run_id: str
    metrics: dict[str, float]


class _Note(BaseModel):
    """Note on a finished cell: its key, its optional outputs, and the SHA-256 (hex) of each of its files."""

    key: str = ""
    directory: Path
    run_id: str
    extras: dict[str, str]
    files: dict[str, str]


def cell_key(options: Options, dataset: ImageDataset, prompts: Prompts, backbone_fingerprint: str) -> str:
    """Hash (SHA-256, hex) everything that determines a cell's result.

    Options, data with the names of their rows, texts of the prompts, backbone, the words in a clusterer's
    file, libraries that compute, this package's code, and the source files of parts from outside it; but not
    places, tracking and figures. For a part of a plugin, all sources of the plugin and its version.

    Parameters
    ----------
    options : of the cell.
    dataset : its images.
    prompts : made for the dataset; options hold only the path of a file of texts.
    backbone_fingerprint : of the backbone.
    """
    left_out: dict[str, bool | set[str]] = {
        **dict.fromkeys(PLACES_AND_EXTRAS, True),
        "dataset": {"outside_root"},
    }
    chosen = options.model_dump(mode="json", by_alias=True, exclude=left_out)
    own = options.clusterer.model_extra or {}
    facts = {
        "options": chosen,
        "data": dataset.fingerprint,
        "rows": _hash([name for split in dataset.splits for name in split.ids]),
        "skipped": _hash(dataset.skipped),
        "texts": prompts.texts,
        "backbone": backbone_fingerprint,
        "words": _hash(read_words(own["words"])) if "words" in own else "",
        "method": code_version(_CODE),
        "libraries": versions(_LIBRARIES),
        "code": {
            target: _source_hash(group, target, options.allow)
            for group in options.groups
            for target in _foreign_targets(chosen.get(group))
        },
        "candidates": code_behind(_candidates(options)),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def find(
    output_dir: Path,
    key: str,
    extras: Mapping[str, str],
    has_finished: Callable[[str], bool],
    within: Path | None = None,
) -> Finished | None:
    """Find a finished cell that can replace a new run: all its files are there, unchanged.

    Parameters
    ----------
    output_dir : where cells are noted.
    key : as `cell_key` gives it.
    extras : optional outputs of a new run, which the finished one must have.
    has_finished : whether the tracking store has a run of that id as finished.
    within : directory of the only run that counts; any by default.
    """
    for note in _notes(output_dir, key):
        if within is not None and note.directory != within:
            continue
        if not extras.items() <= note.extras.items():
            continue
        if any(sha256(note.directory / name) != digest for name, digest in note.files.items()):
            continue
        with suppress(OSError, ValueError):  # a note that is damaged may name other files
            metrics = artifacts.read_metrics(note.directory)
            if has_finished(note.run_id):
                return Finished(note.directory, note.run_id, metrics)
    return None


def keep(output_dir: Path, key: str, directory: Path, run_id: str, extras: Mapping[str, str]) -> None:
    """Note atomically that the cell in a directory has all its results.

    Each of several runs of a cell has its own note: it may be recorded elsewhere, or never be FINISHED.

    Parameters
    ----------
    output_dir : where cells are noted.
    key : as `cell_key` gives it.
    directory : of the run.
    run_id : of the run in the tracking store; empty without one.
    extras : its optional outputs.
    """
    files = {name: sha256(directory / name) or "" for name in artifacts.results(directory)}
    note = _Note(key=key, directory=directory, run_id=run_id, extras=dict(extras), files=files)
    path = output_dir / "finished" / f"{key}-{_hash([str(directory)])[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(sealed(note.model_dump(mode="json")), indent=1) + "\n").encode())


def lock_cell(output_dir: Path, key: str, name: str) -> AbstractContextManager[bool]:
    """Keep other processes from running the same cell; they wait, and find it finished.

    Parameters
    ----------
    output_dir : where cells are noted.
    key : as `cell_key` gives it.
    name : of the cell, for the message of those that wait.
    """
    return locked(output_dir / "finished" / ".locks" / f"{key}.lock", what=name)


def _notes(output_dir: Path, key: str) -> Iterator[_Note]:
    """Notes of a cell that can be read, newest first."""
    folder = output_dir / "finished"
    paths = [folder / name for name in _names(folder).get(key, ())]
    for path in sorted(paths, key=lambda path: path.lstat().st_mtime_ns, reverse=True):
        with suppress(ValueError, OSError):  # also of a newer version, or no file
            note = _Note.model_validate(unsealed(parse_json(read_regular(path))))
            if note.key in ("", key):
                yield note


def _names(folder: Path) -> dict[str, list[str]]:
    """Names of notes by their cell's key, listed again once the folder has changed.

    A sweep of 100,000 cells looks for each. A folder that changed just now is always listed: several changes
    may have one time.
    """
    try:
        changed = folder.stat().st_mtime_ns
        settled = time.time_ns() - changed > _SETTLED
        return _listed_once(folder, changed) if settled else _listed(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}


@lru_cache(maxsize=2)
def _listed_once(folder: Path, changed: int) -> dict[str, list[str]]:
    return _listed(folder)


def _listed(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for name in (entry.name for entry in entries if entry.name.endswith(".json")):
            found.setdefault(name.rpartition("-")[0], []).append(name)
    return found


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _candidates(options: Options) -> Iterator[str]:
    """Options among which a method is chosen, as group and name."""
    for candidates in (options.method.candidates or {}).values():
        for replaced in candidates.values():
            yield from (f"{group}/{value}" for group, value in replaced.items())


def _foreign_targets(options: Any) -> Iterator[str]:
    """Names of the parts that are not from this package."""
    if isinstance(options, Mapping):
        target = options.get("_target_", "")
        if isinstance(target, str) and target and not target.startswith("fused_clip."):
            yield target
    if isinstance(options, (Mapping, list)):
        for value in options.values() if isinstance(options, Mapping) else options:
            yield from _foreign_targets(value)


def _source_hash(group: str, target: str, allow: Sequence[str]) -> str:
    """Hash of a plugin's source and version, or of the file that defines another part, if that is Python."""
    if plugin := plugin_of(target):
        return plugin.code_version
    try:
        source = inspect.getsourcefile(locate(group, target, allow, nested=True))
    except TypeError:
        return ""
    return (sha256(Path(source)) or "") if source else ""
