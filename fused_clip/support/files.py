"""Atomic writes and inter-process locks."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from fused_clip.support.drafts import draft_of, remove_drafts
from fused_clip.support.errors import InputError
from fused_clip.support.locks import take

T = TypeVar("T")
_CAN_NOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # errors of network and FUSE file systems
MOST_TEXT = 64 << 20  # bytes: descriptions of 20,000 classes take 10 MiB
MOST_IMAGE = 2 << 30  # bytes: 200 million pixels of 16-bit colour take 1.2 GB
_READS = 5  # of a file that is replaced again and again
_PROBE_BYTES = 1 << 16  # room for the files that Hydra writes before a run starts


def write_atomic(path: Path, content: bytes) -> str:
    """Write a file atomically, also through a power cut, and return the SHA-256 (hex) of its content.

    Parameters
    ----------
    path : the file; its folder must exist.
    content : new content.
    """
    # Drafts that are left are not looked for: that takes the longer, the more files are in the folder.
    with writable(path.parent), _replacing(path) as draft, draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a draft path; the draft replaces the file, unless the with block fails.

    No other writer has the same draft: without locks the last one wins, and no file is a mixture of two.

    Parameters
    ----------
    path : the file; its folder must exist.
    """
    remove_drafts(path.parent, path.name)
    with _replacing(path) as draft:
        yield draft


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    draft = draft_of(path)
    try:
        yield draft
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_regular(path: str | Path, most: int | None = None, start: int = 0, size: int | None = None) -> bytes:
    """Read a file, or a range of it; a pipe or a device, which may never end, is not opened for reading.

    A file that another machine replaces meanwhile is read again.

    Parameters
    ----------
    path : of the file.
    most : bytes; to read more is an error.
    start : of the range.
    size : of the range; None for the rest of the file.

    Raises
    ------
    OSError
        If there is no such file, it is no regular file, is larger, or can't be read; also for a name that no
        file can have.
    """
    return _again_if_stale(functools.partial(_read_regular, path, most, start, size))


def _again_if_stale(read: Callable[[], T]) -> T:
    """Read, and again if NFS has lost the file to a new one that another machine put in its place."""
    for _ in range(_READS - 1):
        try:
            return read()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return read()


def _read_regular(path: str | Path, most: int | None, start: int, size: int | None) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # whose words differ between versions of Python
        raise OSError(errno.EINVAL, "its name has a zero byte", str(path)) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and must be a file", str(path))
        if most is not None and (status.st_size if size is None else size) > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(start)
            return file.read(-1 if size is None else size)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make changes of names last through a power cut, if the system can sync folders.

    Parameters
    ----------
    folder : that has the names.
    """
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _CAN_NOT_SYNC:
                raise
        finally:
            os.close(descriptor)


def sha256(path: Path) -> str | None:
    """Hash a file (hex); None if there is no regular file, or none can have such a name.

    Parameters
    ----------
    path : the file.
    """
    try:
        if not path.is_file():  # a FIFO would never end
            return None
        return _again_if_stale(functools.partial(_hash, path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return None


def sha256_once(path: Path) -> str:
    """Hash a file (hex), once a process unless its size or time of change differs.

    Parameters
    ----------
    path : the file, which must exist.
    """
    stat = path.stat()
    return _sha256_of(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    return _again_if_stale(functools.partial(_hash, path))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def touch(path: Path) -> None:
    """Set the time of use to now, if permitted.

    Parameters
    ----------
    path : a file.
    """
    with suppress(OSError):  # it may be gone, another's, or on a file system that can't be written
        os.utime(path)


def link(path: Path, folder: Path) -> None:
    """Let a symbolic link lead to a folder, in place of where it led; without links nothing happens.

    Parameters
    ----------
    path : the link; a file or folder of that name stays.
    folder : where it leads, relative to its own folder, so that both can be moved.
    """
    if path.exists() and not path.is_symlink():
        return
    with suppress(OSError, ValueError), _replacing(path) as draft:
        draft.symlink_to(os.path.relpath(folder, path.parent), target_is_directory=True)


@contextmanager
def locked(path: Path, *, wait: bool = True, what: str = "", option: str = "output_dir") -> Iterator[bool]:
    """Lock a file between processes and threads until the block or the process ends; yield whether it worked.

    Machines that share the file system see it, as `fused_clip.support.locks.take` explains.

    Parameters
    ----------
    path : file of the lock; it is not deleted.
    wait : for the lock to be free.
    what : description for the log.
    option : names the folder in errors.
    """
    with writable(path.parent, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = take(path, wait=wait, what=what or str(path))
    try:
        yield lock.is_locked
    finally:
        lock.release()


def check_writable(folder: Path, option: str = "output_dir") -> None:
    """Make a folder, and raise InputError if no file can be written in it.

    Parameters
    ----------
    folder : may exist.
    option : that names it.
    """
    probe = draft_of(folder / ".probe")
    with writable(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)


@contextmanager
def writable(folder: Path, option: str = "output_dir") -> Iterator[None]:
    """Turn OSError into InputError.

    Parameters
    ----------
    folder : that the block writes to.
    option : that names it.
    """
    try:
        yield
    except OSError as error:
        rule = f"must be a writable folder with free space ({error.strerror})"
        hint = "Finished work is kept: free space or choose another folder, and run again"
        raise InputError(option, rule, str(folder), hint=hint) from error
