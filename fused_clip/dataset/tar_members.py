"""Files of a tar archive by their headers: name, place and size; no content is read."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fused_clip.dataset.names import printable
from fused_clip.support.errors import InputError
from fused_clip.support.files import read_regular

_BLOCK = 512
# What damaged headers make of tarfile: sizes that are no numbers or no size of memory, chains without an end.
_FAILURES = (tarfile.TarError, OSError, ValueError, ArithmeticError, RecursionError, MemoryError)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class Member(NamedTuple):
    """A file of an archive.

    Parameters
    ----------
    name : as the archive has it; bytes that are no UTF-8 are surrogates.
    start : first byte of its content.
    size : bytes.
    """

    name: str
    start: int
    size: int


def members(option: str, file: Path) -> Iterator[Member]:
    """List the regular files of an archive in order, one at a time; links, folders and devices are ignored.

    Parameters
    ----------
    option : names the archive in errors.
    file : the archive, not compressed; names may be of USTAR, PAX or GNU.

    Raises
    ------
    InputError
        If it is missing, compressed, truncated or damaged, or has a sparse file.
    """
    try:
        _refuse_compressed(option, file)
        with (
            file.open("rb") as content,
            tarfile.open(fileobj=content, mode="r:", encoding="utf-8", errors="surrogateescape") as archive,
        ):
            yield from _members(content, archive, file.stat().st_size)
    except _FAILURES as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        rule = f"must be a whole tar file without sparse files ({reason})"
        raise InputError(
            option, rule, str(file), hint="It is truncated or damaged: pack or copy it anew"
        ) from error


def _members(content: BinaryIO, archive: tarfile.TarFile, length: int) -> Iterator[Member]:
    """Read each header: iterating over an archive keeps all of them, and takes damage for its end."""
    end = 0
    while True:
        content.seek(end)
        block = content.read(_BLOCK)
        if len(block) < _BLOCK:
            raise tarfile.ReadError(f"it ends at byte {length:,} without the mark of its end")
        if not any(block):
            return
        content.seek(end)
        info = tarfile.TarInfo.fromtarfile(archive)
        filled = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
        end = info.offset_data + (-(-info.size // _BLOCK) * _BLOCK if filled else 0)
        if info.issparse() or info.size < 0 or end > length:
            raise tarfile.ReadError(f"{printable(info.name)} ends after byte {length:,}, or is sparse")
        if info.isreg():
            yield Member(info.name, info.offset_data, info.size)


def _refuse_compressed(option: str, file: Path) -> None:
    start = read_regular(file, start=0, size=max(map(len, _COMPRESSED)))
    if kind := _COMPRESSED.get(start):
        rule = f"must be a tar file without compression, and is one of {kind}"
        raise InputError(option, rule, str(file), hint="Images of it are read by their place: unpack it once")
