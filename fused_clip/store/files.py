"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fused_clip.errors import InputError


def write_whole(path: Path, content: bytes) -> str:
    """Put the whole file in place or nothing, so that it outlasts a power cut; give its SHA-256 (hex).

    Raises
    ------
    InputError
        If it can't be written.
    """
    draft = path.with_name(f"{path.name}.draft")
    with writable(path.parent):
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
def writable(folder: Path) -> Iterator[None]:
    """Say what to do about errors of writing below the output directory."""
    try:
        yield
    except OSError as error:
        rule = f"must be a folder that can be written, and has room ({error.strerror})"
        hint = "What is finished is kept: free space or choose another folder, and run again"
        raise InputError("output_dir", rule, str(folder), hint=hint) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
