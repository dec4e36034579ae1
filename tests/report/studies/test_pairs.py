import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report.studies.pairs import Answers, Arm, corrected, difference_table
from tests.study_records import ROWS, study_record

SEEDS = (42, 43, 44)


def arm(folder: Path, name: str, wrong: int, column: str = "predicted", **options: str) -> Arm:
    runs = [
        study_record(folder, seed=seed, wrong=wrong, references={"zero_shot": 10}, name=name, **options)
        for seed in SEEDS
    ]
    return Arm(name, runs, column)


def test_a_comparison_is_of_the_same_rows_seed_by_seed(tmp_path: Path) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    found = Answers().compare("MNIST", good, bad)
    assert found is not None
    assert found.interval.mean == pytest.approx(60 / ROWS)
    assert found.interval.low > 0
    assert len(found.run_ids) == 2 * len(SEEDS)
    (one,) = corrected([found])
    assert one.better
    assert one.significant
    assert (one.seeds, one.rows, one.differing) == (3, 3 * ROWS, 3 * 60)
    assert one.whole
    assert one.flag == ""


def test_a_reference_is_compared_within_its_run(tmp_path: Path) -> None:
    method = arm(tmp_path, "method", 20)
    found = Answers().compare("MNIST", method, Arm("zero-shot", method.records, "reference/zero_shot"))
    assert found is not None
    assert found.interval.mean == pytest.approx(-10 / ROWS)
    assert len(found.run_ids) == len(SEEDS)


def test_what_has_no_rival_is_not_compared(tmp_path: Path) -> None:
    method = arm(tmp_path, "method", 20)
    assert Answers().compare("MNIST", method, Arm("nobody", [])) is None
    assert Answers().compare("MNIST", method, Arm("lost", method.records, "reference/lost")) is None
    assert corrected([None]) == []


def test_an_undefined_accuracy_is_no_number(tmp_path: Path) -> None:
    method = arm(tmp_path, "method", 20)
    silent = study_record(tmp_path, seed=42, name="silent")
    del silent.metrics["test/accuracy"]  # type: ignore[attr-defined]
    (found,) = corrected([Answers().compare("MNIST", method, Arm("silent", [silent]))])
    assert math.isnan(found.interval.mean)
    assert (found.whole, found.significant, found.flag) == (False, False, "0 of 3 seeds")
    texts = [cell.text for cell in difference_table([found], "caption").rows[0]]
    assert texts[3:] == ["-", "-", "-", "-", "0", "0", "0"]


def by_seed(folder: Path, name: str, wrong: Mapping[int, int]) -> Arm:
    return Arm(name, [study_record(folder, seed=seed, wrong=some, name=name) for seed, some in wrong.items()])


def test_seeds_that_differ_much_show_no_difference(tmp_path: Path) -> None:
    """Better in all of five seeds, each time beyond its images, by McNemar's test; yet by .01 to .5."""
    first = by_seed(tmp_path, "first", dict.fromkeys(range(5), 20))
    second = by_seed(tmp_path, "second", {0: 32, 1: 32, 2: 32, 3: 32, 4: 220})
    (one,) = corrected([Answers().compare("MNIST", first, second)])
    assert one.corrected < 0.001
    assert one.interval.low < 0 < one.interval.mean
    assert not one.significant
    assert not one.better


def test_one_seed_has_a_row_but_no_interval(tmp_path: Path) -> None:
    pair = by_seed(tmp_path, "first", {42: 20}), by_seed(tmp_path, "second", {42: 80})
    (one,) = corrected([Answers().compare("MNIST", *pair)])
    assert not one.significant
    row = difference_table([one], "caption").rows[0]
    assert [cell.text for cell in row[3:]] == ["+.1500", "-", "< .001", "no", "1", "400", "60"]


@pytest.mark.parametrize(
    ("change", "flag", "seeds"),
    [
        ({"status": "FAILED"}, "1 of 6 failed", 2),
        ({"status": "MISSING"}, "1 of 6 missing", 2),
        ({"params": {"seed": "45"}}, "2 of 4 seeds", 2),
        ({"tags": {"commit": "other"}}, "mixed commits", 3),
    ],
)
def test_holes_and_mixed_code_are_marked(
    change: dict[str, object], flag: str, seeds: int, tmp_path: Path
) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    first, *others = bad.records
    found = Answers().compare("MNIST", good, Arm("bad", [replace(first, **change), *others]))  # type: ignore[arg-type]
    assert found is not None
    assert (found.flag, found.seeds, found.whole) == (flag, seeds, seeds == 3)
    assert difference_table([found], "caption").rows[0][3].flag == flag


def test_what_failed_altogether_keeps_its_row(tmp_path: Path) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    lost = [replace(record, status="FAILED") for record in bad.records]
    (found,) = corrected([Answers().compare("MNIST", good, Arm("bad", lost))])
    assert (found.seeds, found.whole, found.flag) == (0, False, "3 of 6 failed")


def test_rows_that_agree_are_said_to(tmp_path: Path) -> None:
    pair = arm(tmp_path, "one", 20), arm(tmp_path, "other", 20)
    (one,) = corrected([Answers().compare("MNIST", *pair)])
    texts = [cell.text for cell in difference_table([one], "caption").rows[0]]
    assert texts[4:] == ["no test row differs", "1.000", "no", "3", "1200", "0"]
    assert one.same


def test_copies_of_a_comparison_count_once(tmp_path: Path) -> None:
    task, control = arm(tmp_path, "task", 20), arm(tmp_path, "control", 40)
    answers = Answers()
    alone = corrected([answers.compare("MNIST", task, control)])
    copies = corrected([answers.compare("MNIST", task, replace(control, name=name)) for name in "abc"])
    assert [one.corrected for one in copies] == [alone[0].corrected] * 3
    others = corrected([answers.compare(name, task, control) for name in ("MNIST", "CIFAR-10")])
    assert others[0].corrected == pytest.approx(2 * alone[0].corrected)


def test_few_rows_that_differ_are_no_real_difference(tmp_path: Path) -> None:
    pair = arm(tmp_path, "one", 20), arm(tmp_path, "other", 23)
    (one,) = corrected([Answers().compare("MNIST", *pair)])
    assert not one.significant
    table = difference_table([one], "caption")
    texts = [cell.text for cell in table.rows[0]]
    assert (texts[3], texts[5], texts[6]) == ("+.0075", ".375", "no")
