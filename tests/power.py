"""What a power cut may leave of a folder: recorded by strace, then taken apart.

`changes_below` lists what a process changed below a folder. `Cut` gives states that the folder
may have if the power went off after some of them. What was synced before is there. Of the rest each write
may be there, missing or torn, and each name may be there or not, in any combination: more than any one file
system allows.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CALLS = (
    "openat,creat,close,lseek,write,pwrite64,writev,pwritev,ftruncate,fsync,fdatasync,dup,dup2,dup3,fcntl,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,sendfile,copy_file_range"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (\d+)(?:<.*>)?$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PLACE = re.compile(r"^(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>])*)>")
_SECTOR = 512


@dataclass(frozen=True)
class Change:
    """One step: ``write`` and ``truncate`` of a file, ``sync`` of it or of a folder, or one of names.

    A name is ``made``, ``moved`` or ``removed``. Files are numbered; a folder has the number 0.
    """

    kind: str
    file: int = 0
    path: str = ""
    to: str = ""
    at: int = 0
    data: bytes = b""


def watching(log: Path) -> list[str]:
    """Words for strace that make it write a log for `changes_below`.

    Parameters
    ----------
    log : its file.
    """
    # What sendfile copies is not shown; where it fails, shutil reads and writes.
    return [
        *("-y", "-xx", "-s", "100000000", "--inject=sendfile:error=EINVAL"),
        f"--trace={_CALLS}",
        "-o",
        str(log),
    ]


def changes_below(folder: Path, log: Path) -> list[Change]:
    """List what a process changed below a folder.

    Parameters
    ----------
    folder : absolute; it was not there before.
    log : as strace wrote it.
    """
    return list(_Reader(str(folder)).read(log.read_text().splitlines()))


@dataclass
class _Reader:
    root: str
    names: dict[str, int] = field(default_factory=dict)
    open: dict[str, tuple[int, bool]] = field(
        default_factory=dict
    )  # of a descriptor: its file, whether it appends
    at: dict[str, int] = field(default_factory=dict)
    size: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    files: int = 0

    def read(self, lines: Sequence[str]) -> Iterator[Change]:
        begun: dict[str, str] = {}
        for line in lines:
            process, text = _LINE.match(line).groups()  # type: ignore[union-attr]
            if text.endswith(" <unfinished ...>"):
                begun[process] = text.removesuffix(" <unfinished ...>")
                continue
            if text.startswith("<... "):
                text = begun.pop(process) + text.partition(" resumed>")[2]
            call = _CALL.match(text)
            if call:
                yield from self.call(*call.groups())

    def call(self, name: str, words: str, result: str) -> Iterator[Change]:
        place = _PLACE.match(words)
        first = words.partition("<")[0]
        strings = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(words)]
        if name in ("openat", "creat", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir") or "rename" in name:
            folder = _text(place[1]) if place else ""
            paths = [str(Path(folder) / text.decode()) for text in strings]
            yield from self.named(name, paths, words, result)
        elif name == "close":
            self.open.pop(first.rstrip(")"), None)
        elif first in self.open:
            yield from self.filled(name, first, words, strings, int(result))
        elif name in ("fsync", "fdatasync") and place and self.inside(_text(place[1])):
            yield Change("sync", path=_text(place[1]))

    def inside(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")

    def named(self, name: str, paths: list[str], words: str, result: str) -> Iterator[Change]:
        path = paths[0]
        if not self.inside(path):
            self.open.pop(result, None)
        elif name in ("openat", "creat"):
            self.open.pop(result, None)
            if "O_DIRECTORY" in words or Path(path).is_dir() or path.endswith("-shm"):
                return
            if path not in self.names:
                if "O_CREAT" not in words and name != "creat":
                    return
                self.files += 1
                self.names[path] = self.files
                yield Change("made", self.files, path)
            file = self.names[path]
            self.open[result], self.at[result] = (file, "O_APPEND" in words), 0
            if "O_TRUNC" in words and self.size[file]:
                self.size[file] = 0
                yield Change("truncate", file)
        elif name.startswith("mkdir"):
            yield Change("made", path=path)
        elif name.startswith("rename"):
            file = self.names.pop(path)
            self.names[paths[1]] = file
            yield Change("moved", file, path, paths[1])
        elif path in self.names:
            yield Change("removed", self.names.pop(path), path)

    def filled(
        self, name: str, first: str, words: str, strings: list[bytes], result: int
    ) -> Iterator[Change]:
        file, appends = self.open[first]
        if name in ("fsync", "fdatasync"):
            yield Change("sync", file)
        elif name == "lseek":
            self.at[first] = result
        elif name == "ftruncate":
            self.size[file] = int(words.rpartition(", ")[2])
            yield Change("truncate", file, at=self.size[file])
        elif name == "fcntl" or name.startswith("dup"):
            if "F_DUPFD" in words or name.startswith("dup"):
                self.open[str(result)], self.at[str(result)] = self.open[first], self.at[first]
        else:
            data = b"".join(strings)[:result]
            assert len(data) == result, f"{name} wrote what strace does not show"
            at = int(words.rpartition(", ")[2]) if name.startswith("pwrite") else self.at[first]
            at = self.size[file] if appends else at
            if not name.startswith("pwrite"):
                self.at[first] = at + result
            self.size[file] = max(self.size[file], at + result)
            yield Change("write", file, at=at, data=data)


def _text(escaped: str) -> str:
    whole = re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), escaped)
    return whole.encode("latin-1").decode()


class Cut:
    """States after a power cut.

    Parameters
    ----------
    changes : as `changes_below` gives them.
    root : the folder.
    """

    def __init__(self, changes: Sequence[Change], root: Path) -> None:
        self.changes = changes
        self.root = str(root)

    def state(self, chance: random.Random, *, lost: bool = True) -> dict[str, bytes | None]:
        """Draw a moment, and what is left then: the content of every file by its path; None for a folder.

        Parameters
        ----------
        chance : draws.
        lost : whether what is not synced may be lost; else all is left, as when a process is killed.
        """
        done = self.changes[: chance.randrange(len(self.changes) + 1)]
        keep = chance.choice([0.0, 0.5, 0.9, 1.0]) if lost else 1.0
        keep_names = chance.choice([0.0, 0.5, 0.9, 1.0]) if lost else 1.0
        synced: dict[Any, int] = {}
        for number, change in enumerate(done):
            if change.kind == "sync":
                synced[change.file or change.path] = number
        names: dict[str, int] = {self.root: 0}
        contents: dict[int, bytearray] = defaultdict(bytearray)
        for number, change in enumerate(done):
            if change.kind in ("write", "truncate"):
                if number < synced.get(change.file, -1) or chance.random() < keep:
                    _fill(contents[change.file], change)
                elif change.kind == "write" and chance.random() < 0.5:
                    torn = change.data[: chance.randrange(len(change.data) // _SECTOR + 1) * _SECTOR]
                    _fill(contents[change.file], Change("write", at=change.at, data=torn))
            elif change.kind != "sync":
                safe = number < synced.get(str(Path(change.to or change.path).parent), -1)
                if safe or chance.random() < keep_names:
                    _rename(names, change)
        return {
            path: bytes(contents[file]) if file else None
            for path, file in sorted(names.items())
            if all(str(above) in names for above in Path(path).parents if self.root in str(above))
        }


def _fill(content: bytearray, change: Change) -> None:
    if change.kind == "truncate":
        del content[change.at :]
        content.extend(bytes(change.at - len(content)))
    else:
        content.extend(bytes(max(0, change.at - len(content))))
        content[change.at : change.at + len(change.data)] = change.data


def _rename(names: dict[str, int], change: Change) -> None:
    if change.kind == "made":
        names.setdefault(change.path, change.file)
    else:
        names.pop(change.path, None)
    if change.kind == "moved":
        names[change.to] = change.file


def leave(state: dict[str, bytes | None]) -> None:
    """Write a state to its place, which is empty."""
    for path, content in state.items():
        if content is None:
            Path(path).mkdir(parents=True)
        else:
            Path(path).write_bytes(content)
