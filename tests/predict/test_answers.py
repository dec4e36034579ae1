import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fused_clip.model.predictions import further_columns
from fused_clip.predict import answers
from fused_clip.support.errors import InputError

FIRST = {
    "path": 'a, "b"\n=c.png',
    "target": "cat",
    "probability": 0.875,
    "margin": float("inf"),
    "runner_up": None,
    "cluster": 3,
    "abstained": True,
}
SECOND = {
    **FIRST,
    "path": "d.png",
    "probability": None,
    "margin": -0.1,
    "runner_up": "dog",
    "abstained": False,
}
BAD = {"path": "e.png", "error": "no image"}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_what_was_recorded(tmp_path: Path) -> None:
    answers.write(tmp_path / "t.csv", [FIRST, BAD, SECOND])
    first, second = read_csv(tmp_path / "t.csv")
    assert tuple(first) == answers.COLUMNS
    assert list(first.values()) == [FIRST["path"], "cat", "0.875", "inf", "", "3", "true"]
    assert list(second.values()) == ["d.png", "cat", "", "-0.1", "dog", "3", "false"]


def test_images_that_can_not_be_read_have_a_row_if_asked(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        answers.write(tmp_path / f"t.{suffix}", [FIRST, BAD], (*answers.COLUMNS, "error"))
    assert [row["error"] for row in read_csv(tmp_path / "t.csv")] == ["", "no image"]
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["error"].tolist()[1] == "no image"
    assert frame.loc[1, ["target", "probability", "cluster"]].isna().all()


def test_json_lines_have_numbers_and_no_infinity(tmp_path: Path) -> None:
    answers.write(tmp_path / "t.jsonl", [FIRST, BAD, SECOND])
    first, second = map(json.loads, (tmp_path / "t.jsonl").read_text("utf-8").splitlines())
    assert first == {**FIRST, "margin": None}
    assert second == SECOND


def test_a_name_can_not_take_another_column(tmp_path: Path) -> None:
    names = ["target", "path", "2", 'a,"b"\r']
    columns = (*answers.COLUMNS, *further_columns(names, top_k=2, each=True))
    assert len(set(columns)) == len(columns)
    for suffix in ("csv", "parquet"):
        answers.write(tmp_path / f"t.{suffix}", [SECOND | {"p:target": 0.5, "probability_2": 0.25}], columns)
    assert tuple(read_csv(tmp_path / "t.csv")[0]) == columns
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame.loc[0, ["target", "p:target", "probability_2"]].tolist() == ["cat", 0.5, 0.25]


def test_parquet_has_the_same_columns_whatever_is_in_them(tmp_path: Path) -> None:
    for name, records in {"all": [FIRST, SECOND], "nulls": [SECOND], "none": []}.items():
        answers.write(tmp_path / f"{name}.parquet", records)
    schemas = [pq.read_schema(path) for path in tmp_path.glob("*.parquet")]
    assert schemas[0] == schemas[1] == schemas[2]
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame["path"].tolist() == [FIRST["path"], "d.png"]
    assert frame["margin"].iloc[0] == float("inf")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), max_size=7
    )
)
def test_all_formats_have_the_same_content(paths: list[str], tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{**SECOND, "path": path} for path in paths]
    for suffix in ("csv", "parquet", "jsonl"):
        answers.write(tmp_path / f"t.{suffix}", records)
    assert [row["path"] for row in read_csv(tmp_path / "t.csv")] == paths
    assert pd.read_parquet(tmp_path / "t.parquet")["path"].tolist() == paths
    lines = (tmp_path / "t.jsonl").read_bytes().decode("utf-8").split("\n")
    assert [json.loads(line)["path"] for line in lines[:-1]] == paths


def test_places_that_do_not_do_are_told_before_work(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, overwrite, message in [
        ("there.csv", False, r"out: must not exist yet.*--overwrite"),
        (
            "t.xlsx",
            False,
            r"out: must end in one of these, got 't.xlsx'; choose from: .csv, .parquet, .jsonl",
        ),
        ("none/t.csv", False, "out: must be in an existing folder"),
        ("folder.csv", True, "out: must be a file"),
    ]:
        with pytest.raises(InputError, match=message), answers.place(tmp_path / name, overwrite=overwrite):
            pass
    with answers.place(tmp_path / "there.csv", overwrite=True) as partial:
        assert partial == tmp_path / "there.csv.partial"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_place_is_one_process_s_own(tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    with answers.place(out, overwrite=False):
        with (
            pytest.raises(InputError, match=r"out: another process predicts into it.*t\.csv"),
            answers.place(out, overwrite=True),
        ):
            pass
        with answers.place(tmp_path / "other.csv", overwrite=False):
            pass
        out.write_text("made meanwhile")
    with pytest.raises(InputError, match="out: must not exist yet"), answers.place(out, overwrite=False):
        pass
    with answers.place(out, overwrite=True):
        pass


def test_a_table_that_can_not_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("mine")

    def records() -> Any:
        yield FIRST
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"can't be written \(No space left"):
        answers.write(tmp_path / "t.csv", records())
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "mine"
