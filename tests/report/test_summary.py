import math
from typing import Any

import pytest

from fused_clip.report.summary import (
    data_and_backbone,
    flag_of,
    group_by,
    mixed_data,
    summarize,
    supervision,
    varying,
)
from fused_clip.tracking.records import RunRecord
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


def test_counts_have_the_decimals_of_their_deviation() -> None:
    """Missing targets 1, 0, 1, 0, 0 are not 0 ± 1."""
    counts = [
        make_record(seed=seed, metrics={"missing_targets": n}) for seed, n in enumerate((1, 0, 1, 0, 0))
    ]
    cell = summarize(counts, "missing_targets", digits=0)
    assert (cell.text, cell.value, cell.values) == (".4 ± .5", 0.4, (1, 0, 1, 0, 0))


def test_a_metric_that_is_no_number_is_a_dash() -> None:
    cell = summarize([make_record(metrics={"test/accuracy": math.nan})], "test/accuracy")
    assert (cell.text, cell.value) == ("-", None)


def test_data_rows_and_backbone_are_named() -> None:
    sizes = {"n_train": "1438", "n_test": "359"}
    one = make_record(params={"dataset": "digits", "backbone": "compact"}, tags=sizes)
    other = make_record(params={"dataset": "toy", "backbone": "compact"})
    named = data_and_backbone([one, one, other])
    assert named == "digits (1,438 train, 359 test rows), toy; backbone compact"


def test_groups_and_axes() -> None:
    records = [make_record(prompt, seed) for seed in range(2) for prompt in ("task", "none")]
    assert varying(records) == ["prompt", "seed"]
    assert varying(records[::2]) == ["seed"]
    groups = group_by(records, ["prompt"])
    assert [record.run_id for record in groups["task",]] == ["task0", "task1"]
    assert list(groups) == [("task",), ("none",)]


def seeing(backbone: str, dataset: str, seen: str, seed: int = 0) -> RunRecord:
    tags = {"classes_seen": seen} if seen else {}
    return make_record(seed=seed, params={"backbone": backbone, "dataset": dataset}, tags=tags)


def test_zero_shot_is_called_supervised_where_the_backbone_saw_labels_of_the_classes() -> None:
    seen, unseen = seeing("small", "cats", "2 of 2: tom, kitty"), seeing("large", "cats", "")
    assert supervision([unseen, make_record()]) == ""
    words = "The training of backbone small had labels of these classes"
    assert supervision([unseen, seen, seen]).startswith(f"{words}: zero-shot")


def test_classes_that_the_backbone_saw_are_counted_by_dataset() -> None:
    """Runs whose targets are groups may have more of them."""
    records = [
        seeing("small", *one) for one in (("cats", "1 of 2: tom"), ("cats", "2 of 2: x"), ("cars", ""))
    ]
    assert "some of these classes, by their names or groups (cats: 1 to 2 of 2; cars: none)" in supervision(
        records
    )
    assert supervision(records).endswith("by the backbone's training, where it had them.")
