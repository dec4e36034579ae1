"""A power cut at any moment of a start on nothing: what is read afterwards is absent or whole."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from fused_clip.store.entry import StoredEntry
from fused_clip.support.checksums import unsealed
from fused_clip.support.files import sha256, write_atomic
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.schema import is_whole
from tests.attack.scale import needs_strace, record, tries
from tests.databases import a_run, old_database
from tests.forks import QUICK, ROOT, Commands
from tests.power import Change, Cut, changes_below, leave, watching

SEED = 21
OLD, NEW = b"old" * 700, b"new" * 900


def check(folder: Path) -> Counter[str]:
    """Read all that a run keeps; count what is whole."""
    found: Counter[str] = Counter()
    database = folder / "mlflow.db"
    if database.exists():
        assert is_whole(database)
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found["database"] += 1
    for entry in map(StoredEntry, (folder / "store").glob("[!.]*")):
        manifest = entry.manifest
        assert manifest is not None or not (entry.folder / "manifest.json").exists()
        if manifest is not None:
            assert entry.intact() == manifest.files
            found["complete entry" if manifest.complete else "entry"] += 1
    for note in (folder / "finished").glob("*.json"):
        whole = unsealed(json.loads(note.read_bytes()), required=True)
        assert set(whole) == {"key", "directory", "run_id", "extras", "files"}
        found["note"] += 1
    return found


@pytest.mark.slow
@needs_strace
def test_after_a_power_cut_all_is_absent_or_whole(tmp_path: Path, commands: Commands) -> None:
    folder = tmp_path / "out"
    words = ("-m", "seed=0,1", *QUICK, f"output_dir={folder}")
    log = tmp_path / "strace.log"
    done = commands("run", *words, strace=watching(log), timeout=300)
    assert done.code == 0, done.said
    changes = changes_below(folder, log)
    once = measured(folder)
    cut = Cut(changes, folder)
    whole = {path: content for path, content in everything(folder).items() if "mlflow.db" not in path}
    chance = random.Random(SEED)
    found: Counter[str] = Counter()
    again = tries(3, 20)
    for number in range(tries(60, 1_000)):
        shutil.rmtree(folder)
        if number:
            leave(cut.state(chance))
        else:
            # All synced: what was recorded is what was done.
            leave(Cut([*changes, *syncs(changes)], folder).state(Last()))
            assert {path: everything(folder).get(path) for path in whole} == whole
        folder.mkdir(exist_ok=True)
        found += check(folder)
        if number <= again:
            done = commands("run", *words)
            assert done.code == 0, done.said
            assert measured(folder) == once
    assert min(found["database"], found["entry"], found["complete entry"], found["note"]) > 0
    record("power_cuts", states=number + 1, runs_after=again + 1, broken=0, steps=len(changes))


class Last(random.Random):
    """Draws the last moment."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return start - 1


def syncs(changes: list[Change]) -> list[Change]:
    """Syncs of all files and folders."""
    paths = {str(Path(change.to or change.path).parent) for change in changes if change.path}
    return [
        *(Change("sync", file) for file in {change.file for change in changes} - {0}),
        *(Change("sync", path=path) for path in sorted(paths)),
        Change("sync"),
    ]


def measured(folder: Path) -> dict[str, bytes]:
    """What the finished cells measured whose files are all as their notes say."""
    found = {}
    for path in (folder / "finished").glob("*.json"):
        note = json.loads(path.read_bytes())
        directory = Path(note["directory"])
        if all(sha256(directory / name) == digest for name, digest in note["files"].items()):
            found[path.name.partition("-")[0]] = (directory / "metrics.json").read_bytes()
    return found


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@needs_strace
def test_a_power_cut_in_an_upgrade_loses_no_run(tmp_path: Path) -> None:
    folder, log = tmp_path / "out", tmp_path / "strace.log"
    folder.mkdir()
    old = tmp_path / "old.db"
    old.write_bytes(old_database(tmp_path / "made.db"))
    script = f"from tests.attack.test_power import upgrade; upgrade({str(folder)!r}, {str(old)!r})"
    words = ["strace", "-f", "-qq", *watching(log), sys.executable, "-W", "ignore", "-c", script]
    subprocess.run(words, cwd=ROOT, check=True, timeout=300)
    cut, chance = Cut(changes_below(folder, log), folder), random.Random(SEED)
    found: Counter[str] = Counter()
    number = 0
    while sum(found.values()) < tries(6, 40) or not (found["upgraded"] and found["old"]):
        shutil.rmtree(folder)
        folder.mkdir()
        state = cut.state(chance)
        if str(folder / "begun") in state:
            folder.rmdir()
            leave(state)
            place = folder.rename(tmp_path / str(number))
            number += 1
            found["upgraded" if is_whole(place / "mlflow.db") else "old"] += 1
            MlflowTracker(place).check()
            with closing(sqlite3.connect(place / "mlflow.db")) as connection:
                assert connection.execute("SELECT run_uuid FROM runs").fetchall() == [("a1",)]
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            folder.mkdir()
    assert found["upgraded"]
    assert found["old"]
    record("power_cuts_in_an_upgrade", broken=0, **found)


def upgrade(folder: str, old: str) -> None:
    """Put an old database in place, whose newest run is in its log alone, and upgrade it."""
    database = Path(folder) / "mlflow.db"
    write_atomic(database, Path(old).read_bytes())
    child = os.fork()
    if not child:
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        a_run(connection)
        connection.commit()
        os._exit(0)
    os.waitpid(child, 0)
    write_atomic(Path(folder) / "begun", b"")
    assert database.with_name("mlflow.db-wal").stat().st_size
    MlflowTracker(Path(folder)).check()


@pytest.mark.parametrize("careless", [False, True])
@needs_strace
def test_a_rename_before_the_data_is_seen(careless: bool, tmp_path: Path) -> None:
    """Without a sync before the rename some states are torn; with `write_atomic` none are."""
    folder, log = tmp_path / "out", tmp_path / "strace.log"
    folder.mkdir()
    script = f"from tests.attack.test_power import write_twice; write_twice({str(folder)!r}, {careless})"
    words = ["strace", "-f", "-qq", *watching(log), sys.executable, "-c", script]
    subprocess.run(words, cwd=ROOT, check=True, timeout=100)
    chance = random.Random(SEED)
    cut = Cut(changes_below(folder, log), folder)
    contents = {cut.state(chance).get(str(folder / "file")) for _ in range(300)}
    assert (contents <= {None, OLD, NEW}) is not careless
    assert {OLD, NEW} <= contents


def write_twice(folder: str, careless: bool) -> None:
    """Write a file and replace it, with syncs or without."""
    path = Path(folder) / "file"
    for content in (OLD, NEW):
        if careless:
            path.with_name("file.draft").write_bytes(content)
            path.with_name("file.draft").replace(path)
        else:
            write_atomic(path, content)
