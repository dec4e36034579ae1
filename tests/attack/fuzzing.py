"""Feeds damaged contents to the readers of the package, in a process that may break.

A reader may return or refuse, within a second of processor time and a GiB; it may not raise anything else,
crash, hang, or write. Hypothesis draws the inputs: it shrinks them, and needs no instrumented interpreter.

``python -m tests.attack.fuzzing MODULE:FUNCTION`` is the process; `fuzz` starts and watches it.
"""

from __future__ import annotations

import argparse
import base64
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from fused_clip.support.errors import InputError
from tests.attack.mutation import LARGEST, mutated

ROOT = Path(__file__).parents[2]
SECONDS = 1.0  # of processor time, for an input
SPACE = 1 << 30  # bytes that an input may map
_EXAMPLES = 50  # at a time, so that it ends when its time is up
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}
_STARTS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "ctypes.dlopen"}


@dataclass(frozen=True)
class Reader:
    """A reader of the package.

    Parameters
    ----------
    name : short.
    seeds : valid contents.
    read : reads a content.
    place : file that has the content when `read` is called, or gives the contents of several by their paths.
    refuses : what it may raise.
    writes : whether it may change files.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    place: str | Callable[[bytes], Mapping[str, bytes]] = ""
    refuses: tuple[type[BaseException], ...] = (InputError,)
    writes: bool = False

    def put(self, content: bytes) -> None:
        """Write the files that it reads."""
        if self.place:
            files = {self.place: content} if isinstance(self.place, str) else self.place(content)
            for path, own in files.items():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(own)


@dataclass(frozen=True)
class Report:
    """What a process tried.

    Parameters
    ----------
    tried, refused : inputs, and those that were refused, by reader.
    finding : the input that broke a rule, and how; empty if none did.
    """

    tried: dict[str, int]
    refused: dict[str, int]
    finding: str = ""


class _Limit(BaseException):
    """Raised in a reader from outside: no reader may catch it, and Hypothesis does not try it again."""


@dataclass
class Watched:
    """Calls readers under the limits, and leaves each input where another process finds it."""

    last: mmap.mmap
    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    _armed: bool = False
    _writes: bool = True

    def __post_init__(self) -> None:
        signal.signal(signal.SIGPROF, self._too_long)
        sys.addaudithook(self._audit)
        _limit_space()

    def __call__(self, reader: Reader, content: bytes) -> None:
        self._note(reader.name, content)
        self.tried[reader.name] += 1
        reader.put(content)
        try:
            with self._guarded(writes=reader.writes):
                reader.read(content)
        except reader.refuses:
            self.refused[reader.name] += 1

    def _note(self, name: str, content: bytes) -> None:
        head = json.dumps([name, len(content), self.tried.total()]).encode().ljust(256)
        self.last[: 256 + len(content[:LARGEST])] = head + content[:LARGEST]

    @contextmanager
    def _guarded(self, *, writes: bool) -> Iterator[None]:
        self._armed, self._writes = True, writes
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._armed = False

    def _too_long(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            raise _Limit(f"took more than {SECONDS:g} s")

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._armed:
            return
        if event == "open" and not self._writes:
            changes = isinstance(arguments[2], int) and arguments[2] & _WRITES
            if changes and arguments[0] != os.devnull:
                raise _Limit(f"opened {arguments[0]!r} to write")
        elif event in _STARTS or (event in _CHANGES and not self._writes):
            raise _Limit(f"called {event} {arguments}")


def _limit_space() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + SPACE, mapped + SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fuzz(group: str, seconds: float, seed: int, *, silent: float = 120.0) -> Report:
    """Try damaged contents on a group of readers for some time.

    Parameters
    ----------
    group : ``module:function`` that makes the readers.
    seconds : how long.
    seed : of the contents.
    silent : seconds without a new input after which the process counts as hung.
    """
    with TemporaryDirectory() as folder:
        last = Path(folder) / "last"
        last.write_bytes(bytes(256 + LARGEST))
        words = [group, "--seconds", str(seconds), "--seed", str(seed), "--folder", folder]
        # Files: what a reader logs would fill a pipe that nobody empties.
        with (
            (Path(folder) / "out").open("w+") as out,
            (Path(folder) / "err").open("w+") as err,
            subprocess.Popen(
                [sys.executable, "-m", "tests.attack.fuzzing", *words], cwd=ROOT, stdout=out, stderr=err
            ) as process,
        ):
            hung = _watch(process, last, silent)
            process.wait()
            printed, told = (file.seek(0) or file.read() for file in (out, err))
        if not hung and process.returncode == 0:
            return Report(**json.loads(printed.splitlines()[-1]))
        name, content, tried = _read_last(last)
        end = "hung" if hung else f"ended with {process.returncode}"
        return Report({name: tried}, {}, f"{name} {end} at {shown(content)}\n{told[-3_000:]}")


def _watch(process: subprocess.Popen[bytes], last: Path, silent: float) -> bool:
    """Wait for the end of a process; whether it hung, and was ended."""
    seen, since = b"", time.monotonic()
    while True:
        with last.open("rb") as file:
            head = file.read(256)
        if head != seen:
            seen, since = head, time.monotonic()
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            if time.monotonic() - since > silent:
                process.kill()
                return True
        else:
            return False


def _read_last(last: Path) -> tuple[str, bytes, int]:
    held = last.read_bytes()
    if not held[:256].strip(b"\0 "):
        return "start", b"", 0
    name, size, tried = json.loads(held[:256])
    return name, held[256 : 256 + size], tried


def shown(content: bytes) -> str:
    """A content as it can be pasted into a test."""
    return repr(content) if len(content) < 2_000 else f"base64 {base64.b64encode(content).decode()}"


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("group")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    work = args.folder / "work"
    work.mkdir()
    os.chdir(work)
    warnings.simplefilter("ignore")
    readers = resolve_name(args.group)()
    with (args.folder / "last").open("r+b") as file:
        watched = Watched(mmap.mmap(file.fileno(), 0))
        finding = _try(watched, readers, args.seconds, args.seed)
    print(json.dumps({"tried": watched.tried, "refused": watched.refused, "finding": finding}))


def _try(watched: Watched, readers: Sequence[Reader], seconds: float, seed: int) -> str:
    """Try valid contents, then damaged ones until time is up or a reader breaks a rule; give the finding."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    for reader in readers:
        for content in reader.seeds:
            refused = watched.refused[reader.name]
            watched(reader, content)
            if watched.refused[reader.name] > refused:
                return f"{reader.name} refused its own {shown(content)}"
    tried: list[tuple[str, bytes]] = []

    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(readers), st.randoms(use_true_random=False))
    def attempt(reader: Reader, random: Random) -> None:
        content = mutated(random.choice(reader.seeds), reader.seeds, random)
        tried[:] = [(reader.name, content)]
        watched(reader, content)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            seeded(seed)(attempt)()
        except (Exception, _Limit):
            ((name, content),) = tried
            return f"{name} at {shown(content)}\n{traceback.format_exc()[-3_000:]}"
        seed += 1
    return ""


if __name__ == "__main__":
    _main()
