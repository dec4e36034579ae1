"""Runs in PostgreSQL and on MLflow's server, which are killed and started again."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from experiments.cluster.mlflow_server import MlflowServer
from experiments.cluster.postgres_server import PostgresServer
from experiments.cluster.tracking_load import found, load
from fused_clip.support.errors import InputError
from fused_clip.support.mounts import Mount
from fused_clip.tracking import MlflowTracker, address, database_server
from fused_clip.tracking.address import check_shared
from fused_clip.tracking.database_server import is_database_server, patient
from tests.forks import ROOT, Commands, completed
from tests.results import make_result

STARTERS = """
import multiprocessing
import sys
from pathlib import Path

import alembic.command
import mlflow.store.tracking.sqlalchemy_store
from fused_clip.tracking import MlflowTracker

forks = multiprocessing.get_context("fork")
tracker = MlflowTracker(Path(sys.argv[1]), sys.argv[2])
starting = [forks.Process(target=tracker.check) for _ in range(4)]
for one in starting:
    one.start()
for one in starting:
    one.join()
print([one.exitcode for one in starting])
"""


STARTER = """
import sys
from pathlib import Path
from fused_clip.tracking import MlflowTracker
MlflowTracker(Path(sys.argv[1]), sys.argv[2]).check()
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or not importlib.util.find_spec("psycopg2"):
        pytest.skip("needs PostgreSQL and psycopg2")
    with pytest.MonkeyPatch.context() as patch, PostgresServer() as server:
        patch.setenv("PGPASSWORD", server.password)
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        yield server


def test_which_stores_are_databases_of_servers() -> None:
    assert is_database_server("postgresql+psycopg2://me@host/runs")
    assert is_database_server("mysql://host/runs")
    assert not is_database_server("sqlite:////runs.db")
    assert not is_database_server("http://host:5000")


@pytest.mark.slow
def test_processes_that_start_on_an_empty_database_make_it_once(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    uri = postgres.create("empty")
    done = subprocess.run(
        [sys.executable, "-c", STARTERS, str(tmp_path), uri],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.stdout) == ("", "[0, 0, 0, 0]\n")
    client, experiment_id = MlflowTracker(tmp_path, uri)._store()
    assert [one.name for one in client.search_experiments()] == ["fused_clip", "Default"]
    assert client.get_experiment(experiment_id).artifact_location == f"file://{tmp_path}/mlartifacts"


@pytest.mark.slow
def test_a_start_that_is_killed_leaves_a_database_for_the_next(
    postgres: PostgresServer, commands: Commands, tmp_path: Path
) -> None:
    """It takes a second or two; a start that ended before its kill would prove nothing."""
    chance = random.Random(0)
    codes = []
    for number in range(4):
        uri = postgres.create(f"killed{number}")
        moment = 0.1 + 0.25 * (number + chance.random())
        killed = commands("python", STARTER, tmp_path, uri, env=dict(postgres.environment), kill_after=moment)
        codes.append(killed.code)
        MlflowTracker(tmp_path, uri).check()
    assert codes.count(-signal.SIGKILL) > 1, codes
    assert set(codes) <= {-signal.SIGKILL, 0}, codes


@pytest.mark.slow
def test_a_database_that_lets_nobody_in_is_told_in_a_line(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(uri: str) -> str:
        begin = time.monotonic()
        with pytest.raises(InputError) as error:
            MlflowTracker(tmp_path, uri).check()
        assert time.monotonic() - begin < 60  # MLflow would try for minutes
        assert "\n" not in str(error.value)
        return str(error.value)

    assert 'database "nothing" does not exist' in told(postgres.uri_of("nothing"))
    assert "Connection refused" in told("postgresql+psycopg2://me@127.0.0.1:1/runs")
    for driver in ("pg8000", "psycopg"):
        monkeypatch.setitem(sys.modules, driver, None)
    assert told(postgres.uri.replace("psycopg2", "pg8000")).endswith("pip install pg8000")
    assert "or use postgresql+psycopg2://" in told(postgres.uri.replace("psycopg2", "psycopg"))
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    assert told(postgres.uri).endswith("pip install 'fused_clip[postgres]'")
    monkeypatch.undo()
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert "password authentication failed for user" in told(postgres.uri)


@pytest.mark.slow
def test_processes_at_once_lose_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    _, faults = load(postgres.create("crowd"), tmp_path / "out", clients=3, runs=4)
    assert faults == []


AWAY = "The tracking store does not answer: trying again for 120 s"


def log_while_away(
    tracker: MlflowTracker, server: Any, directory: Path, meanwhile: Callable[[], None]
) -> None:
    """Log a run on a server that is killed before, and started again meanwhile or afterwards."""
    with tracker.run("a", {"seed": 1}, {"study": "s"}) as active, ThreadPoolExecutor(1) as pool:
        server.kill()
        logged = pool.submit(active.log, make_result(), directory, [])
        meanwhile()
        server.start()  # in this thread: its end is the server's
        logged.result()


def of_package(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Messages of this package; others tell of their own tries."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("fused_clip")]


def job_while_away(uri: str, folder: Path, server: Any) -> None:
    """Start a job whose server is away, and then the server."""
    job = MlflowTracker(folder, uri)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(job.wait)
        time.sleep(1)
        server.start()
        waits.result()
    assert job.has_finished("0" * 32) is False


@pytest.mark.slow
def test_a_database_that_is_started_again_is_waited_for(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = postgres.create("again")
    tracker = MlflowTracker(tmp_path, uri)
    log_while_away(tracker, postgres, tmp_path, partial(time.sleep, 2))
    (run,) = found(uri, tmp_path)
    assert (run.info.status, run.data.metrics["test/accuracy"]) == ("FINISHED", 0.9)
    assert caplog.messages == [AWAY]


@pytest.mark.slow
def test_a_job_that_starts_while_its_database_is_away_waits_for_it(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = postgres.create("starting")
    MlflowTracker(tmp_path, uri).check()
    postgres.kill()
    job_while_away(uri, tmp_path, postgres)
    assert caplog.messages == [AWAY]


def told_when_away(tracker: MlflowTracker, server: Any, directory: Path) -> str:
    """The error of a run whose server goes and does not come back."""
    with (  # noqa: PT012 - the error ends the run, and then passes
        pytest.raises(InputError, match=r"^tracking.uri: the store can't be used .*refused") as told,
        tracker.run("b", {}, {}) as active,
    ):
        server.kill()
        active.log(make_result(), directory, [])
    return str(told.value)


@pytest.mark.slow
def test_a_database_that_stays_away_is_told_and_its_run_closed_later(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = postgres.create("gone")
    tracker = MlflowTracker(tmp_path, uri)
    tracker.check()
    monkeypatch.setattr(database_server, "_PATIENCE", 2.0)
    begin = time.monotonic()
    try:
        assert "\n" not in told_when_away(tracker, postgres, tmp_path)
        assert time.monotonic() - begin < 100  # each of its calls would wait by itself
    finally:
        postgres.start()
    assert [run.info.status for run in found(uri, tmp_path)] == ["RUNNING"]
    monkeypatch.setattr("fused_clip.tracking.runs.is_gone", lambda _: True)
    tracker.close_abandoned()
    assert [run.info.status for run in found(uri, tmp_path)] == ["KILLED"]


@pytest.mark.slow
def test_a_server_is_waited_for_and_told_if_it_stays_away(
    postgres: PostgresServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a run that logs and a job that starts; one server for both, as its start takes seconds."""
    with MlflowServer(postgres.create("served"), tmp_path / "server", postgres.environment, 1) as server:
        tracker = MlflowTracker(tmp_path, server.uri)
        (tmp_path / "config.yaml").write_text("a: 1")
        log_while_away(tracker, server, tmp_path, lambda: job_while_away(server.uri, tmp_path, server))
        assert of_package(caplog) == [AWAY], "of the job: MLflow itself tries again what a run logs"
        (run,) = found(server.uri, tmp_path)
        assert (run.info.status, run.data.metrics["test/accuracy"]) == ("FINISHED", 0.9)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        assert "\n" not in told_when_away(tracker, server, tmp_path)
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
        monkeypatch.setattr(database_server, "_PATIENCE", 1.0)
        for waits in (1, 0):  # what has not come back is not waited for again
            caplog.clear()
            with pytest.raises(InputError, match="refused"):
                MlflowTracker(tmp_path, server.uri).wait()
            assert len(of_package(caplog)) == waits


class Flaky:
    """A client whose database is away for some calls."""

    def __init__(self, fails: int, code: int) -> None:
        self.fails, self.code, self.calls = fails, code, 0
        self.name = "flaky"

    def get_run(self, run_id: str) -> str:
        self.calls += 1
        if self.calls <= self.fails:
            raise MlflowException("it is away", self.code)
        return run_id

    log_table = get_run


TEMPORARILY_UNAVAILABLE, INTERNAL_ERROR = 2, 1


def test_only_what_can_be_done_twice_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_server, "_PAUSE", 0.001)
    flaky: Any = Flaky(3, TEMPORARILY_UNAVAILABLE)
    assert patient(flaky).get_run("a") == "a"
    assert flaky.calls == 4
    assert patient(flaky).name == "flaky"  # type: ignore[attr-defined]
    for method, code in (("log_table", TEMPORARILY_UNAVAILABLE), ("get_run", INTERNAL_ERROR)):
        flaky = Flaky(1, code)
        with pytest.raises(MlflowException, match="it is away"):
            getattr(patient(flaky), method)("a")
        assert flaky.calls == 1


def test_sqlite_on_a_network_is_no_store_of_several_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_shared(None, tmp_path)
    monkeypatch.setattr(address, "mount_of", lambda _: Mount("nfs4", frozenset()))
    check_shared("http://host:5000", tmp_path)
    check_shared("postgresql://me@host/runs", tmp_path)
    for uri in (None, f"sqlite:///{tmp_path}/runs.db"):
        with pytest.raises(
            InputError, match=r"^tracking.uri: must be the address of an MLflow server"
        ) as told:
            check_shared(uri, tmp_path)
        assert "SQLite does not work on nfs4: use tracking.uri=http://host:5000" in str(told.value)


@pytest.mark.slow
def test_a_password_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for mode in ([], ["-m"]):
        words = [*mode, f"output_dir={tmp_path / 'out'}", "dataset=digits"]
        done = completed(*words, "tracking.uri='postgresql://me:s3cret@host/runs'", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "must not contain a password" in done.stderr
        assert "s3cret" not in done.stderr + done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
