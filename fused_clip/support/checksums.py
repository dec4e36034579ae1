"""Checksums of files and of JSON: damage is found before a number is used. They are no signature."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fused_clip.support.errors import InputError
from fused_clip.support.files import read_regular, sha256, write_atomic

SUMS = "SHA256SUMS"  # `sha256sum --check` reads it
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_SEAL, _DIGITS = "checksum", 16


class DamagedError(InputError):
    """A file that differs from its checksum."""


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of files into ``SHA256SUMS``.

    Parameters
    ----------
    folder : of the files.
    names : of the files, relative to the folder.
    """
    lines = [f"{sha256(folder / name)}  {name}\n" for name in sorted(names)]
    write_atomic(folder / SUMS, "".join(lines).encode())


def parse_sums(content: bytes) -> dict[str, str]:
    """Read the lines of ``SHA256SUMS``: the SHA-256 (hex) of each file by its name.

    Parameters
    ----------
    content : of the file; lines of another form are left out.
    """
    lines = content.decode("utf-8", "replace").split("\n")  # not at whatever else ends a line
    matches = map(_LINE.fullmatch, lines)
    return {match[2]: match[1] for match in matches if match}


def intact(option: str, folder: Path, name: str) -> bytes:
    """Read a file of a folder, and compare it with the folder's ``SHA256SUMS``.

    Folders of earlier versions have no ``SHA256SUMS``; their files are read as they are.

    Parameters
    ----------
    option : names the folder in errors.
    folder : of the file.
    name : of the file, relative to the folder.

    Raises
    ------
    DamagedError
        If the file differs from its checksum or has none, or is no longer there.
    FileNotFoundError
        If it is not there, and has no checksum.
    """
    try:
        sums = parse_sums(read_regular(folder / SUMS)) if (folder / SUMS).exists() else None
    except OSError as error:
        raise damaged(option, folder, f"{SUMS} can't be read ({error.strerror})") from error
    try:
        content = read_regular(folder / name)
    except OSError as error:
        if sums is None or name not in sums:
            raise
        raise damaged(option, folder, f"{name} can't be read ({error.strerror})") from error
    if sums is not None and sums.get(name) != hashlib.sha256(content).hexdigest():
        raise damaged(option, folder, f"{name} differs from its checksum in {SUMS}")
    return content


def damaged(option: str, folder: Path, what: str) -> DamagedError:
    """Make the error of a damaged folder.

    Parameters
    ----------
    option : names the folder.
    folder : with the damage.
    what : is damaged.
    """
    return DamagedError(
        option, f"is damaged: {what}", str(folder), hint="Restore it from a copy, or run again"
    )


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Add a checksum to a JSON object.

    Parameters
    ----------
    content : values in types of JSON.
    """
    return {**content, _SEAL: _digest(content)}


def sealed_line(content: Mapping[str, Any]) -> str:
    """Write a JSON object with its checksum in one line, as `unsealed` reads it.

    The checksum is of this very text, so that it is made once, unless a value has keys or items of its own,
    which keep their order.

    Parameters
    ----------
    content : values in types of JSON, one at least.
    """
    canonical = _canonical(content)
    nested = any(isinstance(value, dict | list) for value in content.values())
    text = json.dumps(content) if nested else canonical
    return f'{text[:-1]}, "{_SEAL}": "{_digest_of(canonical)}"}}\n'


def unsealed(content: Any, *, required: bool = False) -> dict[str, Any]:
    """Check and remove the checksum of a JSON object.

    Parameters
    ----------
    content : as `sealed` gave it, read back.
    required : whether it must have a checksum; those of earlier versions had none.

    Raises
    ------
    ValueError
        If it differs from its checksum, lacks it, or is no object.
    """
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    plain = {key: value for key, value in content.items() if key != _SEAL}
    expected = _digest(plain)
    if content.get(_SEAL, "" if required else expected) != expected:
        raise ValueError("it differs from its checksum")
    return plain


def _digest(content: Mapping[str, Any]) -> str:
    return _digest_of(_canonical(content))


def _digest_of(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]


#: json.dumps would make an encoder at each call, as its keys are to be sorted.
_canonical = json.JSONEncoder(sort_keys=True).encode
