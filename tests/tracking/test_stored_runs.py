import json
import math
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fused_clip.runner import artifacts
from fused_clip.support.errors import InputError
from fused_clip.tracking import MlflowTracker, stored_runs
from fused_clip.tracking.records import RunRecord
from fused_clip.tracking.stored_runs import StoredRuns, open_runs, read_plan, read_table
from tests.databases import with_database
from tests.results import make_result


def axes(prompt: str, seed: int) -> dict[str, str]:
    return {"prompt": prompt, "seed": str(seed)}


def row(prompt: str, seed: int, **facts: Any) -> dict[str, Any]:
    return {**axes(prompt, seed), "error": "", "run_id": "", **facts}


def run_cell(
    tracker: MlflowTracker, folder: Path, cell: dict[str, str], study: str, sweep_id: str, parent: str | None
) -> str:
    tags = {"study": study, "sweep_id": sweep_id, "commit": "abc"}
    with tracker.run("-".join(cell.values()), cell, tags, parent_id=parent) as active:
        accuracy = 0.5 + int(cell["seed"]) / 10
        active.log(
            make_result(metrics={"test/accuracy": accuracy, "seconds/total": 2.0}),
            folder,
            [folder / "figures" / "tsne.png"],
        )
    return str(active.run_id)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps of which much went wrong, one that took a cell of another, one cut off; and a single run."""
    from PIL import Image

    root = tmp_path_factory.mktemp("reading")
    folder = root / "run"
    (folder / "figures").mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\nfusion: {alpha: 0.5, normalize_inputs: false}\n")
    make_predictions(folder / "predictions.parquet")
    Image.new("RGB", (4, 4)).save(folder / "figures" / "tsne.png")
    tracker = MlflowTracker(with_database(root / "out"))

    plan = [axes(prompt, seed) for prompt in ("task", "none") for seed in range(3)]
    first = tracker.start_sweep("a", {"study": "a", "sweep_id": "a1", "swept": "prompt, seed"}, plan)
    for cell in plan[1], plan[0]:
        run_cell(tracker, folder, cell, "a", "a1", first)
    with (
        pytest.raises(ValueError, match="no space"),
        tracker.run("task-2", plan[2], {"study": "a", "sweep_id": "a1"}, parent_id=first),
    ):
        raise ValueError("no space\nleft")
    table = [
        row("task", 0),
        row("task", 1),
        row("task", 2, error="no space"),
        row("none", 0, error="bad\nword"),
    ]
    tracker.end_sweep(first, [*table, {"job": "4", "error": "the job was cut off"}], "FAILED")

    second = tracker.start_sweep("b", {"study": "b", "sweep_id": "b1", "swept": "prompt, seed"}, plan[:2])
    source = next(run for run in stored(root / "out").runs if run.info.run_name == "task-0")
    run_cell(tracker, folder, plan[1], "b", "b1", second)
    tracker.end_sweep(second, [row("task", 0, run_id=source.info.run_id), row("task", 1)], "FINISHED")

    lost = tracker.start_sweep("c", {"study": "c", "sweep_id": "c1", "swept": "prompt, seed"}, plan[:1])
    tracker.end_sweep(lost, [row("task", 0, run_id="gone")], "FINISHED")

    third = tracker.start_sweep("a", {"study": "a", "sweep_id": "a2", "swept": "prompt, seed"}, plan[2:4])
    run_cell(tracker, folder, plan[2], "a", "a2", third)
    run_cell(tracker, folder, {"dataset": "toy", **axes("task", 9)}, "alone", "", None)
    return root / "out"


def make_predictions(path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"row_id": ["x"], "split": ["test"]}).to_parquet(path)


def stored(output_dir: Path) -> StoredRuns:
    with open_runs(None, output_dir) as runs:
        return runs


@pytest.fixture
def runs(output_dir: Path) -> Iterator[StoredRuns]:
    with open_runs(None, output_dir) as opened:
        yield opened


def told(records: list[RunRecord]) -> dict[str, str]:
    return {f"{record.axes['prompt']} {record.axes['seed']}": record.status for record in records}


def test_a_sweep_is_its_plan_with_what_became_of_each_cell(runs: StoredRuns) -> None:
    records = runs.sweep("a1")
    assert told(records) == {
        "task 0": "FINISHED",
        "task 1": "FINISHED",
        "task 2": "FAILED",
        "none 0": "FAILED",
        "none 1": "MISSING",
        "none 2": "MISSING",
    }
    assert [record.metrics.get("test/accuracy") for record in records[:3]] == [0.5, 0.6, None]
    assert [record.error for record in records[2:5]] == ["no space", "bad", ""]
    assert records[2].run_id
    assert not records[3].run_id
    assert {record.study for record in records} == {"a"}


def test_a_cell_taken_from_another_sweep_is_followed(runs: StoredRuns) -> None:
    first, own = runs.sweep("b1")
    (source,) = [record for record in runs.sweep("a1") if record.name == "task-0"]
    assert first.run_id == source.run_id
    assert first.reused
    assert not own.reused
    assert own.parent_id != first.parent_id


def test_a_cell_whose_run_was_deleted_is_missing(runs: StoredRuns) -> None:
    (record,) = runs.sweep("c1")
    assert record.status == "MISSING"
    assert record.error == "its run gone is not in the store"


def test_a_study_is_all_of_its_sweeps_the_newest_finished_run_of_each_cell(runs: StoredRuns) -> None:
    records = runs.study("a")
    assert told(records) == {**told(runs.sweep("a1")), "task 2": "FINISHED"}
    assert not any(record.reused for record in records)


def test_a_cell_with_fewer_axes_is_not_taken_for_one_with_more(tmp_path: Path) -> None:
    """In a sweep of several grids, not every cell sets every axis."""
    tracker = MlflowTracker(with_database(tmp_path / "out"))
    plan = [{**axes("task", 0), "vote": "prompt"}, axes("task", 0)]
    tags = {"study": "a", "sweep_id": "a1"}
    parent = tracker.start_sweep("a", {**tags, "swept": "seed"}, plan)
    ids = []
    for cell in plan:
        with tracker.run("task", cell, tags, parent_id=parent) as active:
            ids.append(active.run_id)  # type: ignore[attr-defined]
    rows = [{**cell, "error": "", "run_id": run_id} for cell, run_id in zip(plan, ids, strict=True)]
    tracker.end_sweep(parent, rows, "FINISHED")
    with open_runs(None, tmp_path / "out") as stored:
        assert [record.run_id for record in stored.study("a")] == ids


def test_a_cell_of_a_sweep_that_was_cut_off_is_known_by_its_overrides(tmp_path: Path) -> None:
    tracker = MlflowTracker(with_database(tmp_path / "out"))
    plan = [axes("task", 0), {**axes("task", 0), "vote": "prompt"}]
    tags = {"study": "a", "sweep_id": "a1"}
    parent = tracker.start_sweep("a", {**tags, "swept": "seed"}, plan)
    overrides = {"overrides": "prompt=task\nseed=0\nvote=prompt"}
    with tracker.run("task", plan[1], {**tags, **overrides}, parent_id=parent):
        pass
    with open_runs(None, tmp_path / "out") as stored:
        assert [record.status for record in stored.study("a")] == ["MISSING", "FINISHED"]


def test_a_sweep_taken_up_again_is_the_same_cells(tmp_path: Path) -> None:
    tracker = MlflowTracker(with_database(tmp_path / "out"))
    places = {"output_dir": "elsewhere", "resume": "true"}
    for sweep, cells in (("s1", [axes("task", 0), axes("task", 1)]), ("s2", [{**axes("task", 1), **places}])):
        tags = {"study": "a", "sweep_id": sweep}
        parent = tracker.start_sweep("a", {**tags, "swept": "seed"}, cells)
        with tracker.run("task", cells[0], tags, parent_id=parent):
            pass
    with open_runs(None, tmp_path / "out") as stored:
        assert [record.status for record in stored.study("a")] == ["FINISHED", "FINISHED"]


def test_a_sweep_that_was_cut_off_has_a_plan_and_no_table(runs: StoredRuns) -> None:
    assert told(runs.sweep("a2")) == {"task 2": "FINISHED", "none 0": "MISSING"}


def test_a_single_run_is_a_study_of_one_cell(runs: StoredRuns) -> None:
    (record,) = runs.study("alone")
    assert record.axes == {"dataset": "toy", "prompt": "task", "seed": "9"}
    assert record.finished


def test_a_record_gives_what_its_run_left(runs: StoredRuns) -> None:
    record = runs.sweep("a1")[0]
    assert record.metrics == {"test/accuracy": 0.5, "seconds/total": 2.0}
    assert record.commit == "abc"
    assert record.data_fingerprint == "0123456789abcdef" * 4
    assert 0 <= record.seconds < 60
    assert record.option("prompt") == "task"
    assert record.option("fusion.alpha") == "0.5"
    assert record.option("fusion.normalize_inputs") == "false"
    assert record.option("fusion") == record.option("nothing.here") == ""
    assert list(record.figures) == ["tsne"]
    predictions = record.predictions()
    assert predictions is not None
    assert list(predictions["row_id"]) == ["x"]


def test_a_missing_cell_left_nothing(runs: StoredRuns) -> None:
    record = runs.sweep("a1")[-1]
    assert record.config == record.figures == {}
    assert record.predictions() is None
    assert record.option("prompt") == "none"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runs: runs.study("A"), "study: is not in the store, got 'A'; choose from: a, alone, b, c"),
        (lambda runs: runs.sweep("a9"), "sweep: is not in the store, got 'a9'; choose from: a1, b1, c1, a2"),
    ],
)
def test_an_unknown_name_is_told_with_the_choices(runs: StoredRuns, call: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(runs)
    assert message in str(caught.value)


def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"tracking\.uri: there is no tracking database"),
        open_runs(None, tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_is_not_there_is_told(output_dir: Path) -> None:
    with (
        pytest.raises(InputError, match=r"tracking\.experiment: .*choose from: Default, fused_clip"),
        open_runs(None, output_dir, "other"),
    ):
        pass


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(InputError, match=r"tracking\.uri: the store can't be used"),
        open_runs(address, tmp_path),
    ):
        pass


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text(json.dumps(["not a database"] * 40))
    with pytest.raises(InputError, match=r"tracking\.uri: .*not a database"), open_runs(None, tmp_path):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"a":' * 100_000, b'{"cells": [1]}'], ids=range(6)
)
def test_a_damaged_plan_or_table_is_refused_with_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    for read in (read_plan, read_table):
        with pytest.raises(InputError, match=r"sweep: is damaged: kept\.json is not as the sweep wrote it"):
            read(path)


def test_a_row_of_a_table_has_a_value_for_each_column(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text('{"columns": ["a", "b"], "data": [["x", 1.5]]}')
    assert read_table(path) == [{"a": "x", "b": 1.5}]
    path.write_text('{"columns": ["a", "b"], "data": [["x"]]}')
    with pytest.raises(InputError, match="damaged"):
        read_table(path)


def changed(output_dir: Path, place: Path, *statements: str) -> Path:
    """A copy of the database in which something changed behind mlflow's back."""
    place.mkdir()
    with (
        closing(sqlite3.connect(output_dir / "mlflow.db")) as source,
        closing(sqlite3.connect(place / "mlflow.db")) as connection,
        connection,
    ):
        source.backup(connection)
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    return place


def accuracies(runs: StoredRuns) -> list[float | None]:
    return [record.metrics.get("test/accuracy") for record in runs.study("alone")]


METRIC = "UPDATE latest_metrics SET value = 0.99 WHERE key = 'test/accuracy'"


def test_a_metric_that_changed_in_the_database_is_told(output_dir: Path, tmp_path: Path) -> None:
    with (
        open_runs(None, changed(output_dir, tmp_path / "a", METRIC)) as runs,
        pytest.raises(InputError, match=r"database is damaged: metrics of run .* not those that were logged"),
    ):
        accuracies(runs)


def test_numbers_of_the_run_s_files_replace_those_that_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    result = make_result(metrics={"test/accuracy": 0.5, "seconds/total": 2.0, "n_clusters": math.inf})
    artifacts.write_metrics(replace(result, metrics={"test/accuracy": 0.5, "seconds/total": 2.0}), folder)
    artifacts.write_checksums(folder)
    tracker = MlflowTracker(with_database(tmp_path / "out"))
    with tracker.run("one", {"seed": 0}, {"study": "alone"}) as active:
        active.log(result, folder, [])
    with open_runs(None, tmp_path / "out") as runs:
        assert accuracies(runs) == [0.5]
    assert not caplog.records
    with open_runs(None, changed(tmp_path / "out", tmp_path / "a", METRIC)) as runs:
        assert accuracies(runs) == [0.5]
    assert "metrics of run" in caplog.text
    (path,) = (tmp_path / "out" / "mlartifacts").rglob("metrics.json")
    path.write_text(path.read_text().replace("0.5", "0.7"))
    with open_runs(None, tmp_path / "a") as runs, pytest.raises(InputError, match=r"metrics\.json differs"):
        accuracies(runs)


def test_a_tag_that_changed_in_the_database_is_told(
    output_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change = "UPDATE tags SET value = 'xyz' WHERE key = 'commit'"
    with open_runs(None, changed(output_dir, tmp_path / "a", change)) as runs:
        (record,) = runs.study("alone")
    assert "params or tags of run" in caplog.text
    assert "params or tags of run" in record.tags["warnings"]


def test_tags_and_notes_of_a_user_are_no_damage(
    output_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = [
        "INSERT INTO tags SELECT 'mine', 'good', run_uuid FROM runs",
        "UPDATE tags SET value = 'a note' WHERE key = 'mlflow.note.content'",
        "UPDATE runs SET name = 'mine'",
    ]
    with open_runs(None, changed(output_dir, tmp_path / "a", *changes)) as runs:
        assert accuracies(runs) == [1.4]
    assert not caplog.records


def test_a_run_of_an_earlier_version_has_no_checksums(
    output_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget = "DELETE FROM tags WHERE key IN ('record_checksum', 'table_sha256')"
    with open_runs(None, changed(output_dir, tmp_path / "a", METRIC, forget)) as runs:
        assert accuracies(runs) == [0.99]
    assert not caplog.records


def test_a_damaged_page_is_told(output_dir: Path, tmp_path: Path) -> None:
    path = changed(output_dir, tmp_path / "a") / "mlflow.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^tracking\.uri: is damaged \("):
        open_runs(None, tmp_path / "a").__enter__()


def test_a_clock_that_was_set_back_leaves_no_time(output_dir: Path, tmp_path: Path) -> None:
    back = "UPDATE runs SET end_time = start_time - 1000"
    with open_runs(None, changed(output_dir, tmp_path / "a", back)) as runs:
        assert all(math.isnan(record.seconds) for record in runs.study("alone"))


def test_cells_are_found_without_a_look_at_every_run_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that was cut off may have 100,000 of both."""

    def run(number: int, **tags: str) -> Any:
        return SimpleNamespace(number=number, data=SimpleNamespace(tags=tags, params={"seed": str(number)}))

    read, reader = [], stored_runs.axes_of
    monkeypatch.setattr(stored_runs, "axes_of", lambda words: read.append(words) or reader(words))
    runs = [run(number, overrides=f"seed={number}") for number in range(500)]
    found = stored_runs._ByAxes([*runs, run(3), run(3, overrides="seed=3")])
    assert [len(found.of({"seed": str(number)})) for number in range(500)] == [1, 1, 1, 3, *[1] * 496]
    assert len(read) == 501
    assert [one.number for one in found.of({"seed": "3"})] == [3, 3, 3]
    assert found.of({"seed": "3"})[1] == run(3)
