import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.report.summary import flag_of, group_by, mixed_data, number, summarize, varying
from tests.records import make_record, missing_record


def test_several_runs_are_a_mean_and_their_spread() -> None:
    cell = summarize([make_record(seed=seed) for seed in range(3)], "test/accuracy")
    assert cell.text == ".8000 ± .1000"
    assert cell.value == pytest.approx(0.8)
    assert cell.run_ids == ("task0", "task1", "task2")
    assert cell.flag == ""


def test_one_run_has_no_spread() -> None:
    assert summarize([make_record()], "test/accuracy", digits=2).text == ".90"


def test_runs_without_the_metric_do_not_count() -> None:
    other = make_record(seed=1, metrics={})
    assert summarize([make_record(), other], "test/accuracy").run_ids == ("task0",)
    nothing = summarize([other], "test/accuracy")
    assert (nothing.text, nothing.value, nothing.run_ids) == ("-", None, ())


def test_what_failed_does_not_count_even_if_it_logged_numbers() -> None:
    cell = summarize([make_record(), make_record(seed=1, status="FAILED")], "test/accuracy")
    assert cell.text == ".9000"
    assert cell.flag == "1 of 2 failed"


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({}, ""),
        ({"status": "MISSING"}, "1 of 2 missing"),
        ({"status": "KILLED"}, "1 of 2 missing"),
        ({"status": "RUNNING"}, "1 of 2 missing"),
        ({"tags": {"commit": "other", "data_fingerprint": "d" * 64}}, "mixed commits"),
        ({"tags": {"commit": "c" * 40, "data_fingerprint": "other"}}, "mixed data"),
    ],
)
def test_what_is_wrong_with_the_runs_of_a_number_is_its_flag(changes: dict[str, Any], flag: str) -> None:
    assert flag_of([make_record(), make_record(seed=1, **changes)]) == flag


def test_a_lone_cell_is_flagged_in_a_word() -> None:
    assert flag_of([missing_record("task", 0)]) == "missing"


def test_other_rows_of_a_dataset_are_other_data_by_right() -> None:
    tags = {"data_fingerprint": "other"}
    assert mixed_data([make_record(), make_record(params={"dataset": "other"}, tags=tags)]) == {}
    assert list(mixed_data([make_record(), make_record(tags=tags)])) == ["toy"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.84216, ".8422"),
        (-0.00001, ".0000"),
        (-0.001, "-.0010"),
        (1.0, "1.0000"),
        (10.5, "10.5000"),
        (-1, "-1.0000"),
    ],
)
def test_numbers_have_no_zero_before_the_point_and_no_minus_before_zero(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6), st.integers(0, 6))
def test_a_number_reads_as_what_it_is(value: float, digits: int) -> None:
    assert float(number(value, digits)) == pytest.approx(value, abs=0.51 * 10.0**-digits)


def test_what_is_no_number_is_a_dash() -> None:
    assert number(math.nan) == number(math.inf) == "-"


def test_groups_and_axes() -> None:
    records = [make_record(prompt, seed) for seed in range(2) for prompt in ("task", "none")]
    assert varying(records) == ["prompt", "seed"]
    assert varying(records[::2]) == ["seed"]
    groups = group_by(records, ["prompt"])
    assert [record.run_id for record in groups["task",]] == ["task0", "task1"]
    assert list(groups) == [("task",), ("none",)]
