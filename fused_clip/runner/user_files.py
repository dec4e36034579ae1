"""Damage in the user's own files: their content changed, and their time of change did not."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fused_clip.backbone import Backbone
from fused_clip.backbone.towers import TwoTowerBackbone
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.images import FileImages
from fused_clip.dataset.names import shortened
from fused_clip.runner.config import Options
from fused_clip.store import Store
from fused_clip.support.arrays import Array
from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256_once

_FOLDER = "inputs"
_LONGEST = 1_000  # characters of a path


def check(options: Options, dataset: ImageDataset, backbone: Backbone, output_dir: Path) -> None:
    """Compare the files of a run with their content when a run first read them.

    These are images, tables, vectors, weights, and any file that an option names. Digests are kept below
    ``<output_dir>/inputs``. A file of another time of change counts as another file.

    Parameters
    ----------
    options : of the run.
    dataset : its images.
    backbone : of the run.
    output_dir : where runs write.

    Raises
    ------
    InputError
        If the content of a file has changed unnoticed by its folder, as decay of a disk does.
    """
    seen = Store(output_dir / _FOLDER)
    for split in {id(split.images): split for split in (dataset.train, dataset.test)}.values():
        images = split.images
        if isinstance(images, FileImages) and images.times:
            _compare(seen, "dataset", images.places, images.times, images.digests)
    files = {file: option for option, file in _named_files(options.model_dump(by_alias=True))}
    files |= dict.fromkeys(dataset.files, "dataset")
    if isinstance(backbone, TwoTowerBackbone):
        files |= dict.fromkeys(backbone.files, "backbone")
    for file, option in files.items():
        digest = bytes.fromhex(sha256_once(file))
        _compare(seen, option, [file], [file.stat().st_mtime_ns], [digest])


def _compare(
    seen: Store, option: str, paths: Sequence[str | Path], times: Sequence[int], digests: Sequence[bytes]
) -> None:
    listed = json.dumps([[os.path.abspath(path), time] for path, time in zip(paths, times, strict=True)])
    found: Array = np.frombuffer(b"".join(digests), np.uint8).reshape(len(paths), -1)
    key = {"files": hashlib.sha256(listed.encode()).hexdigest()}
    known = seen.cached("files", key, lambda: {"digests": found})["digests"]
    changed = [str(path) for path, row in zip(paths, known != found, strict=True) if row.any()]
    if changed:
        rule = f"{len(changed)} of {len(paths)} files are damaged, changed without a change of their time"
        hint = "Restore them from a copy; touch them to use them as they are"
        raise InputError(option, f"{rule} ({shortened(changed)})", hint=hint)


def _named_files(options: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    """Files that options name, each with its option."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _named_files(value, f"{place}.{name}" if place else str(name))
    elif isinstance(options, (list, tuple)):
        for value in options:
            yield from _named_files(value, place)
    elif isinstance(options, str) and 0 < len(options) < _LONGEST:
        path = Path(options).expanduser()
        try:
            there = path.is_file()
        except OSError:  # too long for a name
            return
        if there:
            yield place, path
