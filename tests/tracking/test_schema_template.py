"""The template of new databases: used if it is whole, else made anew, and not needed."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fused_clip.tracking import MlflowTracker, schema, schema_template
from fused_clip.tracking.schema import is_whole, make_whole


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of templates, with one."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FUSED_CLIP_CACHE", str(folder))
    make_whole(tmp_path / "first.db")
    return folder


@pytest.fixture
def made_by_mlflow(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each database since then was kept as template, which MLflow's own alone are."""
    found: list[bool] = []
    keep = schema_template.keep_template

    def noted(memory: sqlite3.Connection, own_rows: list[str]) -> None:
        found.append(True)
        keep(memory, own_rows)

    monkeypatch.setattr(schema, "keep_template", noted)
    return found


def dump(database: Path) -> list[str]:
    """What makes a database, in order of words, without MLflow's own experiment, which has a time."""
    with closing(sqlite3.connect(database)) as connection:
        lines = "\n".join(connection.iterdump()).splitlines()
    return sorted(line.strip().rstrip(",") for line in lines if 'INSERT INTO "experiments"' not in line)


def experiments(folder: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return list(connection.execute("SELECT experiment_id, name FROM experiments ORDER BY 1"))


def test_a_copy_is_what_mlflow_makes(kept: Path, made_by_mlflow: list[bool], tmp_path: Path) -> None:
    make_whole(tmp_path / "second.db")
    assert not made_by_mlflow
    assert is_whole(tmp_path / "second.db")
    assert dump(tmp_path / "second.db") == dump(tmp_path / "first.db")


def test_a_copy_gets_mlflows_own_experiment_when_it_is_opened(kept: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "copied", tmp_path / "made"):
        folder.mkdir()
        MlflowTracker(folder).check()
        for file in kept.iterdir():
            file.unlink()
    assert (
        experiments(tmp_path / "copied")
        == experiments(tmp_path / "made")
        == [(0, "Default"), (1, "fused_clip")]
    )


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one bit": flipped,
    "cut off": lambda content: content[:5000],
    "nothing": lambda content: b"",
    "another digest": lambda content: b"\0" * 32 + content[32:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_template_is_replaced(
    kept: Path, made_by_mlflow: list[bool], tmp_path: Path, damage: str
) -> None:
    (template,) = kept.iterdir()
    template.write_bytes(DAMAGE[damage](template.read_bytes()))
    make_whole(tmp_path / "second.db")
    assert made_by_mlflow == [True]
    make_whole(tmp_path / "third.db")
    assert made_by_mlflow == [True]
    assert all(is_whole(tmp_path / name) for name in ("second.db", "third.db"))


def test_another_mlflow_has_a_template_of_its_own(
    kept: Path, made_by_mlflow: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.__version__", "99.0")
    make_whole(tmp_path / "second.db")
    assert made_by_mlflow == [True]
    assert len(list(kept.iterdir())) == 2


def test_a_database_without_a_table_is_not_whole(kept: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "first.db")) as connection, connection:
        connection.execute("DROP TABLE latest_metrics")
    assert not is_whole(tmp_path / "first.db")


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_without_a_cache_folder_there_is_no_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" if place == "a file" else tmp_path / "file" / "cache"
    monkeypatch.setenv("FUSED_CLIP_CACHE", str(folder))
    make_whole(tmp_path / "first.db")
    assert is_whole(tmp_path / "first.db")
    assert schema_template.template_schema() is None


@pytest.mark.filterwarnings("ignore:.*'mode=memory'")  # filters of one thread end those of another
def test_threads_that_make_the_template_at_once_leave_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by_mlflow: list[bool]
) -> None:
    monkeypatch.setenv("FUSED_CLIP_CACHE", str(tmp_path / "cache"))
    names = [tmp_path / f"{number}.db" for number in range(3)]
    threads = [threading.Thread(target=make_whole, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made_by_mlflow
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert schema_template.template_schema() is not None
    assert all(map(is_whole, names))
