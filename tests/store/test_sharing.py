"""The store on a file system that several machines share: without locks, on two mounts, read-only."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fused_clip.store import Store
from fused_clip.store.__main__ import main
from fused_clip.store.entry import Entry, Manifest
from fused_clip.support import files
from fused_clip.support.errors import InputError
from tests.forks import ROOT

ROUNDS, ARRAYS = 60, 4
# Writes the same entries as others do at once, and reads each at its end.
WRITER = f"""
import sys, time
from contextlib import contextmanager
from pathlib import Path
import numpy as np
from fused_clip.store import Store, entry
from fused_clip.support import locks
if "unlocked" in sys.argv:
    @contextmanager
    def nothing(*_, **__):
        yield True
    entry.locked = nothing
locks._LEASE, locks._LOOK = 30.0, 0.02
store, log = Store(Path(sys.argv[1])), open(sys.argv[2], "a")
store.root.mkdir(exist_ok=True)
time.sleep(max(0.0, float(sys.argv[3]) - time.time()))
for number in range({ROUNDS}):
    def arrays():
        log.write(f"{{number}}\\n")
        for name in range({ARRAYS}):
            yield f"a{{name}}", np.full(20_000, number + name, np.float32)
    kept = store.cached("toy", {{"number": str(number)}}, lambda: dict(arrays()))
    assert all((kept[f"a{{name}}"] == number + name).all() for name in range({ARRAYS}))
"""


def race(roots: list[Path], folder: Path, *words: str) -> list[int]:
    """Write the same entries by one process a root; how often each entry was computed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = str(time.time() + 3)
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(folder / f"log-{number}"), start, *words],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, root in enumerate(roots)
    ]
    for process in racing:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    logged = [line for log in folder.glob("log-*") for line in log.read_text().split()]
    return [logged.count(str(number)) for number in range(ROUNDS)]


def check_whole(root: Path) -> None:
    assert main(["--root", str(root), "verify"]) == 0
    assert len(list(root.glob("toy-*/manifest.json"))) == ROUNDS
    assert not list(root.rglob("*.draft"))


@pytest.mark.slow
def test_without_any_lock_nothing_is_torn(tmp_path: Path) -> None:
    root = tmp_path / "store"
    computed = race([root] * 3, tmp_path, "unlocked")
    assert max(computed) > 1  # else they did not meet
    check_whole(root)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Path]]:
    """Two mounts of one folder: a flock on one is not seen on the other, as on NFS without a lock server."""
    if not shutil.which("bindfs") or not os.access("/dev/fuse", os.W_OK) or os.geteuid() != 0:
        pytest.skip("needs root, bindfs and /dev/fuse")
    folders = [tmp_path / name for name in ("disk", "machine1", "machine2")]
    for folder in folders:
        folder.mkdir()
    disk, *mounts = folders
    for mount in mounts:
        subprocess.run(["bindfs", str(disk), str(mount)], check=True)
    yield mounts
    for mount in mounts:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.slow
def test_machines_whose_locks_are_their_own_compute_once(machines: list[Path], tmp_path: Path) -> None:
    computed = race([mount / "store" for mount in machines], tmp_path)
    assert computed == [1] * ROUNDS
    check_whole(tmp_path / "disk" / "store")


@pytest.mark.slow
def test_an_entry_that_another_machine_finished_is_left_to_it(tmp_path: Path) -> None:
    """A holder that was stopped for so long that its lease ran out goes on once it wakes."""
    slow, fast = (Entry(tmp_path / "store", "toy", {"a": 1}) for _ in range(2))
    arrays = {f"a{number}": np.full(10, number) for number in range(3)}

    def compute(_: frozenset[str]) -> Iterator[tuple[str, np.ndarray]]:
        yield "a0", arrays["a0"]
        fast._compute(lambda _: iter(arrays.items()))
        yield "a1", arrays["a1"]
        raise AssertionError("goes on")

    assert slow.ensure(list(arrays), compute) == ["a0", "a1", "a2"]
    assert fast.is_complete()


def test_an_entry_that_is_finished_twice_is_whole_for_who_saw_the_first(tmp_path: Path) -> None:
    """Without any lock a third machine may begin anew as soon as the second has finished."""
    arrays = {f"a{number}": np.full(10, number) for number in range(3)}
    fast, third = (Entry(tmp_path / "store", "toy", {"a": 1}) for _ in range(2))

    class Slow(Entry):
        @property
        def manifest(self) -> Manifest | None:
            found = super().manifest
            if found is not None and found.complete:
                third.write_empty(complete=False)
            return found

    def compute(_: frozenset[str]) -> Iterator[tuple[str, np.ndarray]]:
        yield "a0", arrays["a0"]
        fast._compute(lambda _: iter(arrays.items()))
        yield "a1", arrays["a1"]

    assert Slow(tmp_path / "store", "toy", {"a": 1}).ensure(None, compute) == ["a0", "a1", "a2"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A store with one entry, on a mount that can't be written."""
    if not shutil.which("mount") or os.geteuid() != 0:
        pytest.skip("needs root and mount")
    source, place = tmp_path / "source", tmp_path / "read-only"
    Store(source / "store").cached("toy", {"number": "1"}, lambda: {"a": np.arange(3)})
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "--bind", "-o", "ro", str(source), str(place)], check=True, capture_output=True
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs mounts: {error.stderr!r}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_store_gives_what_it_has(read_only: Path) -> None:
    def never() -> dict[str, np.ndarray]:
        raise AssertionError("is stored")

    store = Store(read_only / "store")
    assert (store.cached("toy", {"number": "1"}, never)["a"] == np.arange(3)).all()
    with pytest.raises(
        InputError, match=r"must be a writable folder with free space .Read-only file system"
    ) as told:
        store.cached("toy", {"number": "2"}, never)
    assert str(told.value).count("\n") == 0
    assert main(["--root", str(read_only / "store"), "verify"]) == 0


def test_a_file_that_another_machine_replaces_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    stale = iter([116, 116])  # ESTALE

    def read(*arguments: object) -> bytes:
        for number in stale:
            raise OSError(number, os.strerror(number))
        return path.read_bytes()

    monkeypatch.setattr(files, "_read_regular", read)
    assert files.read_regular(path) == b"x"
