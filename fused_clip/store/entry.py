"""An entry of the store: named arrays in a folder, with checksums and atomic writes."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from fused_clip.support.arrays import Array
from fused_clip.support.drafts import remove_drafts
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, read_regular, sha256, sync_folder, touch, writable, write_atomic
from fused_clip.support.json_files import parse_json

log = logging.getLogger(__name__)

Facts = Mapping[str, Any]
Compute = Callable[[frozenset[str]], Iterator[tuple[str, Array]]]

MANIFEST = "manifest.json"
FORMAT: Literal[1] = 1
LOCKS = ".locks"
_NOT_A_FILE = {errno.EINVAL, errno.ELOOP}  # a folder or FIFO, and a link to itself


class Manifest(BaseModel):
    """Contents of an entry, for people and for the check of its files.

    Parameters
    ----------
    format : version of this layout.
    kind : first part of the folder's name.
    key : all that determines the contents.
    about : more for a reader.
    created : UTC, ISO 8601.
    files : SHA-256 (hex) of each finished file.
    complete : whether all files are there.
    """

    format: Literal[1] = FORMAT
    kind: str
    key: dict[str, Any]
    about: dict[str, Any]
    created: str
    files: dict[Annotated[str, Field(pattern=r"^[\w-]{1,100}$")], str]
    complete: bool

    @property
    def name(self) -> str:
        """Name of the entry's folder."""
        return _folder_name(self.kind, self.key)


class StoredEntry:
    """An entry on disk, whole or not.

    Parameters
    ----------
    folder : the entry's, in the root of the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def manifest(self) -> Manifest | None:
        """The manifest; None if there is none, it is damaged, or it is of another entry."""
        try:
            manifest = Manifest.model_validate_json(read_regular(self.folder / MANIFEST))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno in _NOT_A_FILE:
                return None
            raise
        # The name is a hash of the key, by which stored rows are found.
        return manifest if self.folder.name == manifest.name else None

    def is_of_newer_version(self) -> bool:
        """Whether a newer version of this package wrote the entry: this one leaves it alone."""
        try:
            found = parse_json(read_regular(self.folder / MANIFEST))["format"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
        return isinstance(found, int) and found > FORMAT

    def is_complete(self) -> bool:
        """Whether the entry says that it is complete; does not check its files."""
        manifest = self.manifest
        return manifest is not None and manifest.complete

    def intact(self) -> dict[str, str]:
        """Hash of each finished file that is there and undamaged."""
        manifest = self.manifest
        return {} if manifest is None else self._undamaged(manifest.files)

    def _undamaged(self, files: Mapping[str, str]) -> dict[str, str]:
        with ThreadPoolExecutor() as pool:
            found = dict(zip(files, pool.map(sha256, map(self.path, files)), strict=True))
        return {name: digest for name, digest in files.items() if found[name] == digest}

    def note_use(self) -> None:
        """Update the time of use."""
        # Before the files are read: an entry used just now is not pruned.
        touch(self.folder / MANIFEST)

    def path(self, name: str) -> Path:
        """Return the file of an array.

        Parameters
        ----------
        name : of the array.
        """
        return self.folder / f"{name}.npy"

    def load(self, name: str, *, memory_map: bool = False) -> Array:
        """Read one array; its file must be intact.

        Parameters
        ----------
        name : of the array.
        memory_map : leave the values on disk until they are used.
        """
        mode: Literal["r"] | None = "r" if memory_map else None
        array: Array = np.load(self.path(name), mmap_mode=mode, allow_pickle=False)
        return array

    def write(self, name: str, array: Array) -> str:
        """Write one array atomically; give the SHA-256 (hex) of its file.

        Parameters
        ----------
        name : of the array.
        array : its values.
        """
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return write_atomic(self.path(name), buffer.getvalue())

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[bool]:
        """Keep other processes and threads from writing; yields whether the lock is ours.

        Parameters
        ----------
        wait : until the lock is free.
        """
        lock = self.folder.parent / LOCKS / f"{self.folder.name}.lock"
        with locked(lock, wait=wait, what=str(self.folder)) as had:
            yield had


class Entry(StoredEntry):
    """Arrays that are a function of a key.

    Parameters
    ----------
    root : folder of the store.
    kind : first part of the folder's name: letters, digits, ``-``.
    key : all that determines the contents, in JSON's types.
    about : more for a reader.
    """

    def __init__(self, root: Path, kind: str, key: Facts, about: Facts | None = None) -> None:
        super().__init__(root / _folder_name(kind, key))
        self._kind, self._key, self._about = kind, dict(key), dict(about or {})

    @property
    def manifest(self) -> Manifest | None:
        """As of any entry; InputError if it may not be read."""
        with self._readable():
            return super().manifest

    def _undamaged(self, files: Mapping[str, str]) -> dict[str, str]:
        with self._readable():
            return super()._undamaged(files)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            rule = f"has a store that can't be read ({error.strerror})"
            raise InputError("output_dir", rule, str(self.folder)) from error

    def ensure(self, names: Sequence[str] | None, compute: Compute) -> list[str]:
        """Complete the entry and return the names of its arrays; one process computes, the others wait.

        Parameters
        ----------
        names : of the arrays; None for those that `compute` yields.
        compute : yields the arrays whose names are not in its argument; each is stored at once.
        """
        self.note_use()
        good = self._whole(names)
        if good is None:
            with self.locked():  # another process may have written it while this one waited
                good = self._whole(names)
                if good is None:
                    good = self._compute(compute)
        return sorted(good)

    def write_empty(self, *, complete: bool) -> None:
        """Make the folder with a manifest that lists no array; the caller keeps others from writing.

        Parameters
        ----------
        complete : whether no array is going to be added.
        """
        with writable(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write_manifest({}, _now(), complete=complete)

    def adopt(self, folder: Path, files: Mapping[str, str]) -> None:
        """Take a folder that has all arrays in place of this entry's own, atomically.

        Parameters
        ----------
        folder : in the same store; it is renamed.
        files : SHA-256 (hex) of each array.
        """
        with self.locked(), writable(self.folder.parent):
            if self.folder.exists():  # of one machine that did not finish
                shutil.rmtree(self.folder)
            self._write_manifest(files, _now(), complete=True, folder=folder)
            folder.rename(self.folder)
            sync_folder(self.folder.parent)

    def _whole(self, names: Sequence[str] | None) -> dict[str, str] | None:
        """Hashes of all arrays, if they are all there and undamaged."""
        manifest = self.manifest
        if manifest is None or not manifest.complete:
            return None
        good = self._undamaged(manifest.files)
        return good if good.keys() == (manifest.files.keys() if names is None else set(names)) else None

    def _compute(self, compute: Compute) -> dict[str, str]:
        good = self.intact()
        self._report_what_was_there(good)
        with writable(self.folder.parent):
            self.folder.mkdir(exist_ok=True)
        remove_drafts(self.folder)
        created, before = _now(), self.manifest
        for name, array in compute(frozenset(good)):
            now = self.manifest
            if now is not None and now.complete and now != before:
                # Another machine was faster: a lease that ran out has let it in. A third may write by now.
                return dict(now.files)
            good[name] = self.write(name, array)
            self._write_manifest(good, created, complete=False)
        self._write_manifest(good, created, complete=True)
        return good

    def _report_what_was_there(self, good: Mapping[str, str]) -> None:
        manifest = self.manifest
        if manifest is None and (self.folder / MANIFEST).exists():
            log.warning("%s: the manifest is damaged; computing the entry anew", self.folder)
        elif manifest is not None:
            damaged = sorted(manifest.files.keys() - good.keys())
            if damaged:
                log.warning("%s: damaged: %s; computing these anew", self.folder, ", ".join(damaged))
            if not manifest.complete:
                log.warning("%s: was cut short; going on after %d finished parts", self.folder, len(good))

    def _write_manifest(
        self, files: Mapping[str, str], created: str, *, complete: bool, folder: Path | None = None
    ) -> None:
        manifest = Manifest(
            kind=self._kind,
            key=self._key,
            about=self._about,
            created=created,
            files=dict(sorted(files.items())),
            complete=complete,
        )
        write_atomic((folder or self.folder) / MANIFEST, manifest.model_dump_json(indent=1).encode())


def _folder_name(kind: str, key: Facts) -> str:
    canonical = json.dumps({"format": FORMAT, "kind": kind, "key": dict(key)}, sort_keys=True)
    return f"{kind}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
