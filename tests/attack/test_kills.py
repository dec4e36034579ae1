"""Starts on nothing that are killed, again and again: the next works, with the results of one that was not.

Every campaign has a directory of its own, in which the first start that gets so far makes the database.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.schema import is_whole
from tests.attack.scale import needs_strace, record, tries
from tests.forks import QUICK, ROOT, Commands
from tests.power import Cut, changes_below, leave, watching

KILLS = 5  # of a campaign
SEED = 20
MAKING = [("fused_clip.tracking.schema._fill", 1, when) for when in ("before", "after")]
RUN: tuple[str, ...] = QUICK
SWEEP: tuple[str, ...] = ("-m", "seed=0,1", *QUICK)


def results(folder: Path) -> dict[str, bytes]:
    """What each finished cell measured, by all that determines it."""
    notes = [(path, json.loads(path.read_text())) for path in (folder / "finished").glob("*.json")]
    found: dict[str, bytes] = {}
    for path, note in notes:
        key = path.name.partition("-")[0]
        measured = (Path(note["directory"]) / "metrics.json").read_bytes()
        assert found.setdefault(key, measured) == measured
    return found


def state(folder: Path) -> str:
    """What a kill left of the database; it must be nothing, or whole."""
    database = folder / "mlflow.db"
    if not database.exists():
        return "in the making" if (folder / "mlflow.db.lock").exists() else "not begun"
    assert is_whole(database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return "made"


def check_end(folder: Path, commands: Commands, whole: Path) -> None:
    """Check that the next commands work, and that all is as where nothing was killed."""
    for words in (SWEEP, RUN):
        done = commands("run", *words, f"output_dir={folder}")
        assert done.code == 0, done.said
        assert not done.traceback
    assert results(folder) == results(whole)
    assert not [
        path.name for path in folder.glob("mlflow.db*") if "draft" in path.name or "incomp" in path.name
    ]
    client, experiment = MlflowTracker(folder)._store()
    statuses = Counter(run.info.status for run in client.search_runs([experiment]))
    assert set(statuses) <= {"FINISHED", "KILLED"}
    assert statuses["FINISHED"] >= 4  # two single runs or cells, and the sweep's own


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> tuple[Path, float]:
    """A directory in which nothing was killed, and the seconds that a sweep took on nothing."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    seconds = []
    for words in (SWEEP, RUN):
        done = commands("run", *words, f"output_dir={folder}")
        assert done.code == 0, done.said
        seconds.append(done.seconds)
    return folder, seconds[0]


@pytest.mark.slow
def test_starts_on_nothing_that_are_killed(
    tmp_path: Path, commands: Commands, whole: tuple[Path, float]
) -> None:
    chance = random.Random(SEED)
    unkilled, seconds = whole
    left: Counter[str] = Counter()
    for campaign in range(tries(3, 60)):
        folder = tmp_path / str(campaign)
        for kill in range(KILLS):
            words = [*(RUN if kill % 2 else SWEEP), f"output_dir={folder}"]
            if kill:
                done = commands("run", *words, kill_after=chance.uniform(0, seconds))
            else:  # while the tables are made, however fast the machine is
                done = commands("run", *words, before=[("tests.forks:arm", MAKING[campaign % 2])])
            assert done.code in (-9, 0), done.said
            left[state(folder) if done.code else "ended before"] += 1
        check_end(folder, commands, unkilled)
    assert left["in the making"]
    assert left["made"]
    record("kills_in_forks", kills=sum(left.values()) - left["ended before"], broken=0, **_named(left))


@pytest.mark.slow
def test_processes_that_are_killed_in_their_first_seconds(
    tmp_path: Path, commands: Commands, whole: tuple[Path, float]
) -> None:
    """As above, in processes that import all themselves."""
    chance = random.Random(SEED)
    left: Counter[str] = Counter()
    for number in range(tries(2, 30)):
        folder = tmp_path / str(number // KILLS)
        words = RUN if number % 2 else SWEEP
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "fused_clip.run", *words, f"output_dir={folder}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0, 5))
        process.kill()
        process.wait()
        left[state(folder)] += 1
    for folder in tmp_path.iterdir():
        check_end(folder, commands, whole[0])
    record("kills_in_processes", kills=sum(left.values()), broken=0, **_named(left))


@pytest.mark.slow
@needs_strace
def test_what_mlflow_leaves_half_built_is_recognised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """States of a database that MLflow builds in its place, as earlier versions let it, at any moment."""
    folder, log = tmp_path / "out", tmp_path / "strace.log"
    folder.mkdir()
    script = (
        f"from mlflow import MlflowClient; MlflowClient('sqlite:///{folder}/mlflow.db').get_experiment('0')"
    )
    words = ["strace", "-f", "-qq", *watching(log), sys.executable, "-W", "ignore", "-c", script]
    subprocess.run(words, check=True, timeout=300, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})
    cut = Cut(changes_below(folder, log), folder)
    chance = random.Random(SEED)
    left: Counter[str] = Counter()
    for number in range(tries(5, 30)):
        shutil.rmtree(folder)
        leave(cut.state(chance, lost=False))
        place = folder.rename(tmp_path / str(number))
        left["whole" if is_whole(place / "mlflow.db") else "not whole"] += 1
        caplog.clear()
        MlflowTracker(place).check()
        assert is_whole(place / "mlflow.db")
        aside = list(place.glob("*.incomplete"))
        left["set aside"] += len(aside)
        assert [str(path) in caplog.text for path in aside] == [True] * len(aside)
        folder.mkdir()
    assert left["not whole"]
    assert left["set aside"]
    record("half_built_by_mlflow", broken=0, **_named(left))


def _named(left: Counter[str]) -> dict[str, Any]:
    return {name.replace(" ", "_"): count for name, count in left.items()}
