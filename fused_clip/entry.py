"""An entry of the store: named arrays in a folder, with checksums, written so that nothing is half there."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from fused_clip.errors import InputError

log = logging.getLogger(__name__)

Array = NDArray[Any]
Value = str | int | float | bool | None
Key = Mapping[str, Value]
Compute = Callable[[frozenset[str]], Iterator[tuple[str, Array]]]

_MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """What is in an entry, for people and for the check.

    Parameters
    ----------
    key : all that determines the contents.
    about : what a reader wants to know besides.
    created : UTC, ISO 8601.
    files : SHA-256 (hex) of each file that is finished.
    complete : whether all files are there.
    """

    format: Literal[1] = 1
    kind: str
    key: dict[str, Value]
    about: dict[str, Value]
    created: str
    files: dict[str, str]
    complete: bool


class Entry:
    """Arrays that are a function of a key.

    Parameters
    ----------
    root : folder of the store.
    kind : first part of the folder's name: letters, digits, ``-``.
    key : all that determines the contents.
    about : what a reader wants to know besides.
    """

    def __init__(self, root: Path, kind: str, key: Key, about: Key | None = None) -> None:
        canonical = json.dumps({"format": 1, "kind": kind, "key": dict(key)}, sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:16]
        self.folder = root / f"{kind}-{digest}"
        self._lock_file = root / ".locks" / f"{kind}-{digest}.lock"
        self._kind, self._key, self._about = kind, dict(key), dict(about or {})

    def is_complete(self) -> bool:
        """Whether the entry says that it is complete; does not check its files."""
        manifest = self._manifest()
        return manifest is not None and manifest.complete

    def ensure(self, names: Sequence[str] | None, compute: Compute) -> list[str]:
        """Make the entry complete and whole; only one process computes it, the others wait for it.

        Parameters
        ----------
        names : the arrays it must hold; None for those that `compute` gives.
        compute : gives the arrays, except those named, which are finished; each is kept as it comes.

        Returns
        -------
        Names of the arrays, sorted.

        Raises
        ------
        InputError
            If the store can't be written.
        """
        good, whole = self._check(names)
        if not whole:
            with self._locked():
                good, whole = self._check(names)
                if not whole:
                    good = self._compute(good, compute)
        _touch(self.folder / _MANIFEST)
        return sorted(good)

    def load(self, name: str, *, memory_map: bool = False) -> Array:
        """Read one array; call `ensure` first."""
        mode: Literal["r"] | None = "r" if memory_map else None
        array: Array = np.load(self._path(name), mmap_mode=mode, allow_pickle=False)
        return array

    def _compute(self, good: dict[str, str], compute: Compute) -> dict[str, str]:
        self._report_what_was_there(good)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        for name, array in compute(frozenset(good)):
            good[name] = self._write(self._path(name), _npy(array))
            self._write_manifest(good, created, complete=False)
        self._write_manifest(good, created, complete=True)
        return good

    def _check(self, names: Sequence[str] | None) -> tuple[dict[str, str], bool]:
        """Hashes of the files that are finished and undamaged, and whether they are all."""
        manifest = self._manifest()
        if manifest is None:
            return {}, False
        wanted = manifest.files if names is None else dict.fromkeys(names)
        files = {name: digest for name, digest in manifest.files.items() if name in wanted}
        with ThreadPoolExecutor() as pool:
            found = dict(zip(files, pool.map(_sha256, map(self._path, files)), strict=True))
        good = {name: digest for name, digest in files.items() if found[name] == digest}
        return good, manifest.complete and len(good) == len(wanted)

    def _report_what_was_there(self, good: Mapping[str, str]) -> None:
        manifest = self._manifest()
        if manifest is None and (self.folder / _MANIFEST).exists():
            log.warning("%s: the manifest is damaged; computing the entry anew", self.folder)
        elif manifest is not None:
            damaged = sorted(manifest.files.keys() - good.keys())
            if damaged:
                log.warning("%s: damaged: %s; computing these anew", self.folder, ", ".join(damaged))
            if not manifest.complete:
                log.warning("%s: was cut short; going on after %d finished parts", self.folder, len(good))

    def _manifest(self) -> Manifest | None:
        try:
            return Manifest.model_validate_json((self.folder / _MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None

    def _write_manifest(self, files: dict[str, str], created: str, *, complete: bool) -> None:
        manifest = Manifest(
            kind=self._kind,
            key=self._key,
            about=self._about,
            created=created,
            files=dict(sorted(files.items())),
            complete=complete,
        )
        self._write(self.folder / _MANIFEST, manifest.model_dump_json(indent=1).encode())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _write(self, path: Path, content: bytes) -> str:
        """Put the whole file in place or nothing; give its SHA-256."""
        draft = path.with_name(f"{path.name}.draft")
        with self._writable():
            try:
                with draft.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
                _sync_folder(path.parent)
            except OSError:
                draft.unlink(missing_ok=True)
                raise
        return hashlib.sha256(content).hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        with self._writable():
            for folder in (self.folder, self._lock_file.parent):
                folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("%s: waiting for another process that computes it", self.folder)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            rule = f"must be a folder that can be written, and has room ({error.strerror})"
            hint = "What is finished is kept: free space or choose another folder, and run again"
            raise InputError("output_dir", rule, str(self.folder.parent), hint=hint) from error


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _sha256(path: Path) -> str | None:
    """Hash of a file's contents; None if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _touch(path: Path) -> None:
    """Note the time of use, where that may be written."""
    if os.access(path, os.W_OK):
        os.utime(path)
