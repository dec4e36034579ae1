"""The file of a local database: missing, half built, old, new, foreign, or none at all."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fused_clip.support.errors import InputError
from fused_clip.tracking import MlflowTracker
from fused_clip.tracking.address import absolute_uri
from fused_clip.tracking.models import fetched
from fused_clip.tracking.schema import check_file, is_whole, make_whole
from fused_clip.tracking.stored_runs import open_runs
from tests.databases import OLD, a_run, old_database, with_database
from tests.killed import draft_of_a_killed_process

HALF = "ALTER TABLE inputs ADD COLUMN step BIGINT"  # the half of what its next migration does


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database)) as connection, connection:
        yield connection


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return old_database(tmp_path_factory.mktemp("old") / "mlflow.db")


def with_old(folder: Path, content: bytes, *statements: str) -> Path:
    database = folder / "mlflow.db"
    database.write_bytes(content)
    with opened(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for statement in statements:
            connection.execute(statement)
    return database


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def works(folder: Path) -> bool:
    tracker = MlflowTracker(folder)
    with tracker.run("a run", {"seed": 1}, {}):
        pass
    client, experiment = tracker._store()
    return "FINISHED" in [run.info.status for run in client.search_runs([experiment])]


@pytest.mark.slow
def test_a_new_database_is_whole_and_alone(tmp_path: Path) -> None:
    make_whole(tmp_path / "mlflow.db")
    assert files(tmp_path) == ["mlflow.db"]
    assert is_whole(tmp_path / "mlflow.db")
    with opened(tmp_path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_what_a_killed_start_left_is_gone_after_the_next(tmp_path: Path) -> None:
    draft_of_a_killed_process(tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0 half of a page")
    MlflowTracker(tmp_path).check()
    assert not [name for name in files(tmp_path) if name.endswith(".draft")]
    assert works(tmp_path)


@pytest.mark.slow
def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    make_whole(tmp_path / "mlflow.db")
    assert files(tmp_path) == ["mlflow.db"]
    assert is_whole(tmp_path / "mlflow.db")


@pytest.mark.slow
def test_a_link_to_a_database_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mlflow.db").symlink_to(tmp_path / "elsewhere" / "runs.db")
    make_whole(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").is_symlink()
    assert files(tmp_path / "elsewhere") == ["runs.db"]


BROKEN = {
    "a migration that was cut off": (HALF,),
    "a table that was being copied": ("CREATE TABLE _alembic_tmp_model_version_tags (name VARCHAR(256))",),
    "no state of the schema": ("DROP TABLE alembic_version",),
    "an empty state of the schema": ("DELETE FROM alembic_version",),
    "a table that is missing": ("DROP TABLE metrics", "DROP TABLE runs"),
}


@pytest.mark.slow
@pytest.mark.parametrize("statements", BROKEN.values(), ids=list(BROKEN))
def test_a_half_built_database_is_set_aside_by_name(
    statements: tuple[str, ...], tmp_path: Path, old: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    database = with_old(tmp_path, old, *statements)
    (tmp_path / "mlflow.db.incomplete").write_bytes(b"of an earlier time")
    MlflowTracker(tmp_path).check()
    assert is_whole(database)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(database) in line
    assert f"{database}.incomplete-2" in line
    assert (tmp_path / "mlflow.db.incomplete").read_bytes() == b"of an earlier time"
    with opened(tmp_path / "mlflow.db.incomplete-2") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    assert works(tmp_path)


@pytest.mark.slow
def test_the_newest_database_without_a_table_is_set_aside(tmp_path: Path) -> None:
    database = with_database(tmp_path) / "mlflow.db"
    with opened(database) as connection:
        connection.execute("DROP TABLE experiments")
    MlflowTracker(tmp_path).check()
    assert (tmp_path / "mlflow.db.incomplete").exists()
    assert works(tmp_path)


@pytest.mark.slow
def test_a_half_built_database_with_runs_stays_and_is_told(tmp_path: Path, old: bytes) -> None:
    database = with_old(tmp_path, old, HALF)
    with opened(database) as connection:
        a_run(connection)
    for attempt in (MlflowTracker(tmp_path).check, lambda: open_runs(None, tmp_path).__enter__()):
        with pytest.raises(
            InputError, match=r"^tracking\.uri: .*can't be upgraded.*duplicate column"
        ) as caught:
            attempt()
        assert str(database) in str(caught.value)
    assert not list(tmp_path.glob("*incomplete*"))
    with opened(database) as connection:
        assert connection.execute("SELECT run_uuid FROM runs").fetchall() == [("a1",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(OLD,)]


@pytest.mark.slow
def test_an_old_database_is_upgraded_with_its_runs(tmp_path: Path, old: bytes) -> None:
    database = with_old(tmp_path, old)
    with opened(database) as connection:
        a_run(connection)
    database.chmod(0o640)
    with open_runs(None, tmp_path, "mine") as stored:
        assert [run.info.run_id for run in stored.runs] == ["a1"]
    assert is_whole(database)
    assert database.stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob("*incomplete*"))


@pytest.mark.slow
def test_an_old_database_in_use_is_not_replaced(
    tmp_path: Path, old: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = with_old(tmp_path, old)
    with opened(database) as connection:
        a_run(connection)
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *words, **more: real(*words, timeout=0.1, **more))
    with opened(database) as reader:
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        with pytest.raises(InputError, match=r"another process has it open .*locked"):
            MlflowTracker(tmp_path).check()
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_database_of_a_newer_mlflow_stays_and_is_told(tmp_path: Path) -> None:
    database = with_database(tmp_path) / "mlflow.db"
    with opened(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00000000000'")
    before = database.read_bytes()
    with pytest.raises(InputError, match=r"tracking\.uri: .*newer MLflow than .*f00000000000.*mlflow\.db"):
        MlflowTracker(tmp_path).check()
    assert database.read_bytes() == before


@pytest.mark.slow
def test_a_log_without_its_database_is_set_aside(tmp_path: Path) -> None:
    """SQLite would read it into the new database."""
    (tmp_path / "mlflow.db-wal").write_bytes(b"of another database")
    make_whole(tmp_path / "mlflow.db")
    assert files(tmp_path) == ["mlflow.db", "mlflow.db.incomplete-wal"]


def test_a_disk_that_is_full_leaves_a_half_built_database_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = with_database(tmp_path) / "mlflow.db"
    with opened(database) as connection:
        connection.execute("DROP TABLE experiments")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("fused_clip.tracking.schema._fill", full)
    with pytest.raises(InputError, match="disk is full"):
        MlflowTracker(tmp_path).check()
    assert not list(tmp_path.glob("*incomplete*"))
    assert database.exists()


def folder_of_files(path: Path) -> None:
    path.mkdir()


def text(path: Path) -> None:
    path.write_text("a text file, kept by somebody\n" * 40)


@pytest.mark.parametrize(
    ("made", "rule"),
    [(text, "not a database"), (folder_of_files, "must name a file"), (os.mkfifo, "must name a file")],
)
def test_what_is_no_database_is_told_and_nothing_is_made(made: Any, rule: str, tmp_path: Path) -> None:
    made(tmp_path / "runs.db")
    uri = f"sqlite:///{tmp_path}/runs.db"
    for attempt in (
        MlflowTracker(tmp_path / "out", uri).check,
        lambda: open_runs(uri, tmp_path).__enter__(),
    ):
        with pytest.raises(InputError, match=rf"^tracking\.uri: .*{rule}.*runs\.db"):
            attempt()
    assert files(tmp_path) == ["runs.db"]


def test_reading_makes_no_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    with (
        pytest.raises(InputError, match=r"there is no tracking database, got .*runs\.db"),
        fetched("runs:/a1/model", uri),
    ):
        pass
    assert files(tmp_path) == []


def test_a_database_that_can_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs.db").touch()

    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.R_OK)
    with pytest.raises(InputError, match=r"tracking\.uri: .*\(Permission denied\), got .*runs\.db"):
        MlflowTracker(tmp_path, f"sqlite:///{tmp_path}/runs.db").check()
    assert files(tmp_path) == ["runs.db"]


def test_a_database_that_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_database(tmp_path)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(
        InputError, match=r"tracking\.uri: must be a database that can be written, got .*mlflow\.db"
    ):
        MlflowTracker(tmp_path).check()


@pytest.mark.parametrize(
    "uri", ["", "  ", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:////a/runs.db"]
)
def test_an_address_without_a_store_is_told(uri: str) -> None:
    with pytest.raises(
        InputError, match=r"^tracking\.uri: must be the address of a store: sqlite:///runs\.db"
    ):
        absolute_uri(uri, Path())


@pytest.mark.parametrize("name", ["what?", "50%41", "My%20Data"])
def test_a_path_that_would_be_read_as_another_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^output_dir: must not contain '(\?|%41|%20)' when"):
        absolute_uri(None, Path("/data") / name)
    if "?" not in name:
        with pytest.raises(InputError, match=r"^tracking\.uri: must not contain '%(41|20)'"):
            absolute_uri(f"sqlite:////data/{name}/runs.db", Path())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["50% #1", "100%", "%4 %zz", "a#b&c=d;e@f:g", "ü [1] 'x' \"y\" \\n"])
def test_the_database_is_where_the_run_says(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    with_database(folder)
    assert works(folder)
    assert files(tmp_path) == [name]
    with opened(folder / "mlflow.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    with open_runs(None, folder) as stored:
        assert len(stored.runs) == 1


@pytest.mark.slow
def test_options_of_sqlite_stay_in_an_address(tmp_path: Path) -> None:
    uri = absolute_uri(f"sqlite:///{tmp_path}/runs.db?timeout=30", Path())
    assert uri == f"sqlite:///{tmp_path}/runs.db?timeout=30"
    MlflowTracker(tmp_path, uri).check()
    assert is_whole(tmp_path / "runs.db")


@pytest.mark.slow
def test_threads_make_databases_side_by_side(tmp_path: Path) -> None:
    names = [tmp_path / f"{number}.db" for number in range(2)]
    threads = [threading.Thread(target=make_whole, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(map(is_whole, names))


@pytest.mark.slow
def test_the_tables_are_made_with_the_pool_that_sqlalchemy_will_choose(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from fused_clip.tracking.schema import is_whole, make_whole; "
        "make_whole(Path(sys.argv[1])); assert is_whole(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "runs.db")],
        env={**os.environ, "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "QueuePool"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


def test_a_list_of_schemas_that_can_not_be_read_makes_no_database_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_database(tmp_path)
    monkeypatch.setenv("FUSED_CLIP_CACHE", str(tmp_path / "none"))  # a template would say what is whole
    for owner in (os, Path):  # which skip what they can't list; alembic takes the second in Python 3.12
        monkeypatch.setattr(owner, "walk", lambda *args, **options: iter(()), raising=False)
    with pytest.raises(InputError, match=r"tracking\.uri: .*Input/output error.*db_migrations"):
        MlflowTracker(tmp_path).check()


def test_a_look_at_the_database_keeps_the_locks_of_its_connections(tmp_path: Path) -> None:
    """Without them another process takes the log away, and what this one writes afterwards is lost."""
    tracker, database = MlflowTracker(tmp_path), str(tmp_path / "mlflow.db")

    def elsewhere(statement: str) -> str:
        code = (
            "import sqlite3, sys\n"
            "with sqlite3.connect(sys.argv[1]) as database:\n"
            "    print(database.execute(sys.argv[2]).fetchall())\n"
            "database.close()"
        )
        words = [sys.executable, "-c", code, database, statement]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    parent = tracker.start_sweep("before", {})
    check_file(Path(database))
    elsewhere("update runs set name = 'after'")
    tracker.end_sweep(parent, [], "FINISHED")
    assert elsewhere("select name, status from runs") == "[('after', 'FINISHED')]"
