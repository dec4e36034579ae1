"""Atomic writes and inter-process locks."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_CAN_NOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # what network and FUSE file systems say of folders
_PROBE_BYTES = 1 << 16  # room for the files that Hydra writes before a run starts


def write_atomic(path: Path, content: bytes) -> str:
    """Write a file atomically and durably: after a crash or power cut it is the old or the new one, whole.

    Parameters
    ----------
    path : the file; its folder must exist.
    content : what it holds afterwards.

    Returns
    -------
    SHA-256 (hex) of the content.

    Raises
    ------
    InputError
        If it can't be written.
    """
    with writable(path.parent), replacing(path) as draft, draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its place, and move it there when the with block ends without an error.

    Parameters
    ----------
    path : the file's place, in a folder that exists.

    Yields
    ------
    Where to write it; removed if the block fails.

    Raises
    ------
    OSError
        If the file can't be moved.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str | None:
    """Hash of a file's contents (hex); None if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def touch(path: Path) -> None:
    """Note the time of use, where that may be written."""
    if os.access(path, os.W_OK):
        os.utime(path)


@contextmanager
def locked(path: Path, *, wait: bool = True, what: str = "") -> Iterator[bool]:
    """Hold a lock that other processes and threads respect; it ends with the process, however that ends.

    Parameters
    ----------
    path : the lock's file; it stays.
    wait : until whoever has the lock lets it go.
    what : is being computed meanwhile, for the log.

    Yields
    ------
    Whether the lock was had; always so if `wait`.

    Raises
    ------
    InputError
        If the lock's file can't be written.
    """
    from filelock import FileLock, Timeout

    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if wait:
                log.info("%s: waiting for another process that computes it", what or path)
                lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def check_writable(folder: Path) -> None:
    """Make a folder and see that a file can be written there.

    Raises
    ------
    InputError
        If not, as below a regular file or on a full disk.
    """
    probe = folder / f".probe-{os.getpid()}"
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Say what to do about errors of writing below the output directory."""
    try:
        yield
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error


@contextmanager
def disk_full_errors(folder: Path) -> Iterator[None]:
    """Turn disk-full errors of any library into InputError.

    Raises
    ------
    InputError
        In place of an error that a full disk caused; others pass.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or not _is_full(error):
            raise
        raise _unwritable(folder, os.strerror(errno.ENOSPC)) from error


def _unwritable(folder: Path, reason: str | None) -> InputError:
    rule = f"must be a folder that can be written, and has room ({reason})"
    hint = "What is finished is kept: free space or choose another folder, and run again"
    return InputError("output_dir", rule, str(folder), hint=hint)


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error."""
    if error is None:
        return False
    full = isinstance(error, OSError) and error.errno in _FULL
    full |= isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    return full or _is_full(error.__cause__ or error.__context__)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CAN_NOT_SYNC:
                raise
        finally:
            os.close(descriptor)
