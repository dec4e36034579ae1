import time
from pathlib import Path

import pytest

from fused_clip.runner import outcomes
from fused_clip.runner.outcomes import Progress, read_records, record, run_recorded, table_row


def finish(sweep: Path, number: int, **known: object) -> Path:
    directory = sweep / str(number)
    directory.mkdir()
    record(directory, [f"seed={number}", "study=s"], **known)  # type: ignore[arg-type]
    return directory


def test_a_line_says_how_far_a_sweep_is(tmp_path: Path) -> None:
    sweep = Progress(tmp_path, time.time() - 290, cells=8, finished=1, axes=("seed",))
    reused = finish(tmp_path, 0, metrics={"test/accuracy": 1.0}, reused_from=Path("/old"))
    assert sweep.line(reused) == "cell 1 of 8: seed=0, accuracy 1.0000 (finished already)"
    ran = finish(tmp_path, 1, metrics={"test/accuracy": 0.984})
    assert sweep.line(ran) == "cell 2 of 8: seed=1, accuracy .9840; about 29 min left"
    failed = finish(tmp_path, 2, error="vote: no")
    assert sweep.line(failed) == "cell 3 of 8: seed=2, failed; about 12 min left"
    assert sweep.line(tmp_path / "3") == "a cell of 8 left no record; about 12 min left"


def test_a_sweep_that_plans_nothing_counts(tmp_path: Path) -> None:
    done = finish(tmp_path, 0)
    assert Progress(tmp_path, time.time()).line(done) == "cell 1: seed=0 study=s, done"


def test_a_failure_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    accuracy = run_recorded(lambda: 1 / 0, tmp_path / "0", ["seed=0"])
    assert accuracy != accuracy
    assert [job["error"] for job in read_records(tmp_path)] == ["division by zero", "the job was cut off"]
    assert len(read_records(tmp_path, lost=False)) == 1


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b'{"a":' * 100_000, b'{"metrics": {}}', b"[]"], ids=range(5)
)
def test_a_damaged_record_is_a_failure_that_names_it(content: bytes, tmp_path: Path) -> None:
    for job in ("0", "1"):
        (tmp_path / job).mkdir()
        record(tmp_path / job, [f"seed={job}"], metrics={"test/accuracy": 0.5})
    (tmp_path / "0" / "record.json").write_bytes(content)
    damaged, whole = read_records(tmp_path)
    assert damaged["error"] == f"its record is damaged: {tmp_path / '0' / 'record.json'}"
    assert table_row(damaged)["job"] == "0"
    assert whole["metrics"] == {"test/accuracy": 0.5}
    assert "accuracy .5000" in Progress(tmp_path, 0.0, 2).line(tmp_path / "1")


def test_a_damaged_record_is_a_failed_cell(tmp_path: Path) -> None:
    path = finish(tmp_path, 0, metrics={"test/accuracy": 0.984}) / "record.json"
    text = path.read_text()
    for wrong in (text.replace("0.984", "0.934"), text[:-20], "[]"):
        path.write_text(wrong)
        (job,) = read_records(tmp_path)
        assert (job["error"], job["metrics"]) == (f"its record is damaged: {path}", {})


def test_no_time_is_left_by_a_clock_that_was_set_back(tmp_path: Path) -> None:
    done = finish(tmp_path, 0, metrics={"test/accuracy": 1.0})
    line = Progress(tmp_path, time.time() + 3_600, cells=3).line(done)
    assert line.endswith("; about 0 s left")


def test_a_record_is_read_once_however_many_cells_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reader = [], outcomes.read_record
    monkeypatch.setattr(outcomes, "read_record", lambda folder: read.append(folder.name) or reader(folder))
    sweep = Progress(tmp_path, time.time(), cells=50)
    for number in range(50):
        assert sweep.line(finish(tmp_path, number)).startswith(f"cell {number + 1} of 50: ")
    assert len(read) == 100  # each for the count, and for its own line


def test_records_of_other_processes_count_as_often_as_looking_is_cheap(tmp_path: Path) -> None:
    sweep = Progress(tmp_path, time.time(), cells=9)
    finish(tmp_path, 3)
    assert sweep.line(finish(tmp_path, 0)).startswith("cell 2 of 9: ")
    sweep._ended._took = 3_600.0  # what a folder of millions might take
    finish(tmp_path, 4)
    assert sweep.line(finish(tmp_path, 1)).startswith("cell 3 of 9: ")
    sweep._ended._took = 0.0
    assert sweep.line(finish(tmp_path, 2)).startswith("cell 5 of 9: ")
