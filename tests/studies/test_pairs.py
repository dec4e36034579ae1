from pathlib import Path

import pytest

from fused_clip.studies.pairs import Answers, Arm, corrected, difference_table
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


def test_an_undefined_accuracy_is_not_compared(tmp_path: Path) -> None:
    method = arm(tmp_path, "method", 20)
    silent = study_record(tmp_path, seed=42, name="silent")
    del silent.metrics["test/accuracy"]  # type: ignore[attr-defined]
    assert Answers().compare("MNIST", method, Arm("silent", [silent])) is None


def test_few_rows_that_differ_are_no_real_difference(tmp_path: Path) -> None:
    pair = arm(tmp_path, "one", 20), arm(tmp_path, "other", 23)
    (one,) = corrected([Answers().compare("MNIST", *pair)])
    assert not one.real
    table = difference_table([one], "caption", "differences")
    texts = [cell.text for cell in table.rows[0]]
    assert (texts[3], texts[5], texts[6]) == ("+.0075", ".375", "no")
