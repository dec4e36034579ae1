"""Damage to files, as a disk does it, and what readers make of it."""

import dataclasses
import hashlib
import logging
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
import pandas as pd

from fused_clip.support.errors import InputError

Outcome = Literal["same", "said", "wrong", "traceback", "hang"]
BAD = ("wrong", "traceback", "hang")
_SECONDS = 10


class Reader(NamedTuple):
    """What reads some files, and gives all that a user would see of them.

    Parameters
    ----------
    name : for the report.
    files : folders and files that it reads.
    read : gives values, or raises InputError.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Any]


class Kept:
    """A copy of the files of a reader.

    Parameters
    ----------
    files : folders and files.
    place : of the copy.
    """

    def __init__(self, files: tuple[Path, ...], place: Path) -> None:
        self.files = files
        self.place = place
        for number, path in enumerate(files):
            _copy(path, place / str(number))

    def restore(self) -> None:
        for number, path in enumerate(self.files):
            _remove(path)
            _copy(self.place / str(number), path)

    def listed(self) -> list[Path]:
        found = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in self.files)
        return [
            path for paths in found for path in paths if path.is_file() and not path.name.endswith(".lock")
        ]


def flip(path: Path, rng: random.Random) -> str:
    """Flip one bit, as a disk does: size and times stay."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    if not content:
        return "empty"
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return f"bit {bit} of byte {place}"


def cut(path: Path, rng: random.Random) -> str:
    stat = path.stat()
    size = rng.randrange(max(1, stat.st_size))
    os.truncate(path, size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return f"cut to {size}"


def replace_by(kind: str, path: Path) -> str:
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    return kind


def swap(path: Path, others: list[Path], rng: random.Random) -> str:
    """Exchange two files of one kind: of an entry, or of two."""
    alike = [other for other in others if other != path and other.suffix == path.suffix]
    if not alike:
        return flip(path, rng)
    other = rng.choice(alike)
    contents = other.read_bytes(), path.read_bytes()
    for place, content in zip((path, other), contents, strict=True):
        stat = place.stat()
        place.write_bytes(content)
        os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return f"exchanged with {other.name}"


def outcome(reader: Reader, expected: str) -> tuple[Outcome, str]:
    """Read, and compare with what it should be."""
    with _heard() as heard:
        try:
            with _limit(reader.files):
                found = digest(reader.read())
        except InputError as error:
            lines = str(error).splitlines()
            return ("said", lines[0]) if len(lines) == 1 else ("wrong", f"{len(lines)} lines: {error}")
        except TimeoutError:
            return "hang", ""
        except Exception as error:  # what a command would show as a traceback
            return "traceback", repr(error)[:300]
    if found == expected:
        return "same", ""
    return ("said", heard[0]) if heard else ("wrong", "")


def digest(value: Any) -> str:
    return hashlib.sha256(repr(_plain(value)).encode()).hexdigest()


def report(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    """Counts of outcomes over all readers."""
    found: Counter[str] = Counter()
    for (_, outcome), count in counts.items():
        found[outcome] += count
    return {name: found[name] for name in ("same", "said", *BAD)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (
            str(value.dtype),
            value.shape,
            hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest(),
        )
    if isinstance(value, pd.DataFrame):
        return _plain(value.to_dict("list"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Warnings and errors of the package that are logged in the block."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("fused_clip")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@contextmanager
def _limit(files: tuple[Path, ...]) -> Iterator[None]:
    """Raise TimeoutError in what takes too long; FIFOs are closed, for which threads may wait."""

    def late(signum: int, frame: FrameType | None) -> NoReturn:
        for path in (inside for place in files for inside in (place, *place.rglob("*"))):
            if path.is_fifo():
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
