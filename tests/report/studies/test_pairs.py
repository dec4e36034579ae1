import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from fused_clip.report.studies.pairs import Answers, Arm, Comparison, corrected
from fused_clip.report.studies.significance import Estimate, paired_estimate
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
    assert found.estimate.mean == pytest.approx(60 / ROWS)
    assert found.estimate.low > 0
    assert len(found.run_ids) == 2 * len(SEEDS)
    (one,) = corrected([found])
    assert one.better(correct=True)
    assert one.significant
    assert (one.seeds, one.rows, one.only_first, one.only_second) == (3, 3 * ROWS, 3 * 60, 0)
    assert one.margin == pytest.approx(0.1 * 20 / ROWS)
    assert max(one.mcnemar) < 1e-6
    assert one.whole
    assert one.flag == ""


def test_a_reference_is_compared_within_its_run(tmp_path: Path) -> None:
    method = arm(tmp_path, "method", 20)
    found = Answers().compare("MNIST", method, Arm("zero-shot", method.records, "reference/zero_shot"))
    assert found is not None
    assert found.estimate.mean == pytest.approx(-10 / ROWS)
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
    assert math.isnan(found.estimate.mean)
    assert (found.whole, found.significant, found.flag) == (False, False, "0 of 3 seeds")


def by_seed(folder: Path, name: str, wrong: Mapping[int, int]) -> Arm:
    return Arm(name, [study_record(folder, seed=seed, wrong=some, name=name) for seed, some in wrong.items()])


def test_seeds_that_differ_much_show_no_difference(tmp_path: Path) -> None:
    """Better in all of five seeds, each time beyond its images, by McNemar's test; yet by .03 to .5."""
    first = by_seed(tmp_path, "first", dict.fromkeys(range(5), 20))
    second = by_seed(tmp_path, "second", {0: 32, 1: 32, 2: 32, 3: 32, 4: 220})
    (one,) = corrected([Answers().compare("MNIST", first, second)])
    assert max(one.mcnemar) < 0.001
    assert one.estimate.low < 0 < one.estimate.mean
    assert not one.significant
    assert not one.better(correct=False)


def test_one_test_stands_for_interval_and_p_value(tmp_path: Path) -> None:
    """A family of one has nothing to correct."""
    pair = arm(tmp_path, "one", 20), arm(tmp_path, "other", 31)
    (one,) = corrected([Answers().compare("MNIST", *pair)])
    assert one.corrected == one.estimate.p_value < 0.05
    assert one.estimate.low > 0
    assert one.corrected_equivalence == one.equivalence


def test_a_difference_that_passes_alone_may_fail_in_its_family(tmp_path: Path) -> None:
    pair, answers = (arm(tmp_path, "one", 20), arm(tmp_path, "other", 30)), Answers()
    family = corrected([answers.compare(f"set {place}", *pair) for place in range(40)])
    assert all(one.better(correct=False) and not one.better(correct=True) for one in family)
    assert not any(one.significant for one in family)
    assert family[0].is_better == "yes"


def test_equal_is_within_a_tenth_of_the_smaller_error(tmp_path: Path) -> None:
    """No row differs: equal for errors of a quarter, open for errors of one in a hundred."""
    answers = Answers()
    many, few = (
        corrected(
            [answers.compare("MNIST", arm(tmp_path, f"a{wrong}", wrong), arm(tmp_path, f"b{wrong}", wrong))]
        )
        for wrong in (100, 4)
    )
    assert (many[0].margin, few[0].margin) == (pytest.approx(0.025), pytest.approx(0.001))
    assert (many[0].is_equal, few[0].is_equal) == ("yes", "open")
    assert many[0].is_better == "no"
    assert few[0].is_better == "open"


def test_images_are_matched_across_seeds(tmp_path: Path) -> None:
    """The same images in every seed are one sample of images, not three."""
    pair = arm(tmp_path, "one", 20), arm(tmp_path, "other", 60)
    found = Answers().compare("MNIST", *pair)
    assert found is not None
    row = np.where((np.arange(ROWS) >= 20) & (np.arange(ROWS) < 60), 1.0, 0.0)
    assert found.estimate == pytest.approx(paired_estimate(np.tile(row, (3, 1))))


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


def test_what_failed_altogether_keeps_its_row(tmp_path: Path) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    lost = [replace(record, status="FAILED") for record in bad.records]
    (found,) = corrected([Answers().compare("MNIST", good, Arm("bad", lost))])
    assert (found.seeds, found.whole, found.flag) == (0, False, "3 of 6 failed")


def test_comparisons_with_equal_numbers_are_as_many_tests(tmp_path: Path) -> None:
    """Two controls that predict alike: the data must not shrink a family."""
    task, control = arm(tmp_path, "task", 20), arm(tmp_path, "control", 32)
    answers = Answers()
    (alone,) = corrected([answers.compare("MNIST", task, control)])
    alike = corrected([answers.compare("MNIST", task, replace(control, name=name)) for name in "abc"])
    assert [one.corrected for one in alike] == pytest.approx([3 * alone.corrected] * 3)
    equal = corrected([answers.compare("MNIST", task, replace(task, name=name)) for name in "abc"])
    assert equal[0].corrected_equivalence == pytest.approx(min(1, 3 * equal[0].equivalence))


def test_a_comparison_without_a_test_is_no_part_of_the_family(tmp_path: Path) -> None:
    pair, answers = (arm(tmp_path, "one", 20), arm(tmp_path, "other", 32)), Answers()
    seeds = [Arm(one.name, one.records[:2]) for one in pair]
    first, untested = corrected([answers.compare("MNIST", *pair), answers.compare("MNIST", *seeds)])
    assert first.corrected == first.estimate.p_value
    assert (untested.tested, untested.significant) == (False, False)
    assert math.isnan(untested.corrected_equivalence)


def test_only_rows_that_both_have_predicted_count(tmp_path: Path) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    for arm_of, kept in ((good, slice(0, 300)), (bad, slice(100, None))):
        for record in arm_of.records:
            path = tmp_path / record.run_id / "predictions.parquet"
            pd.read_parquet(path)[kept].to_parquet(path)
    found = Answers().compare("MNIST", good, bad)
    assert found is not None
    assert found.rows == 3 * 200
    assert found.estimate.mean == 0, "rows 100 to 299, which both have right"
    assert (found.only_first, found.only_second) == (0, 0)


def test_discordant_rows_are_counted_on_each_side(tmp_path: Path) -> None:
    good, bad = arm(tmp_path, "good", 20), arm(tmp_path, "bad", 80)
    for record in bad.records:  # wrong on the last rows
        path = tmp_path / record.run_id / "predictions.parquet"
        table = pd.read_parquet(path)
        wrong = np.arange(ROWS) >= ROWS - 80
        other = table["target"].map({"cat": "dog", "dog": "cat"})
        table["predicted"] = np.where(wrong, other, table["target"])
        table.to_parquet(path)
    found = Answers().compare("MNIST", good, bad)
    assert found is not None
    assert (found.only_first, found.only_second) == (3 * 80, 3 * 20)
    assert found.mcnemar == pytest.approx([binomtest(20, 100).pvalue] * 3)
    assert found.margin == pytest.approx(0.1 * 20 / ROWS)


def test_a_claim_is_open_where_it_is_neither_shown_nor_refuted() -> None:
    def judged(mean: float, error: float, *, whole: bool = True) -> tuple[str, str]:
        blank = Comparison("MNIST", "a", "b", margin=0.01, estimate=Estimate(mean, error), whole=whole)
        (one,) = corrected([blank])
        return one.is_better, one.is_equal

    assert judged(0.05, 0.001) == ("yes", "no")
    assert judged(-0.05, 0.001) == ("no", "no")
    assert judged(0.0, 0.001) == ("no", "yes")
    assert judged(0.005, 0.02) == ("open", "open")
    assert judged(0.05, 0.001, whole=False) == ("not measured", "not measured")


def test_a_claim_is_shown_by_each_test_alone_and_refuted_after_correction() -> None:
    """Two differences of 2.2 standard errors: .028 alone, .056 after Holm's correction."""

    def family(mean: float, margin: float) -> list[Comparison]:
        blank = Comparison(
            "MNIST", "a", "b", margin=margin, estimate=Estimate(mean, abs(mean) / 2.2), whole=True
        )
        return corrected([blank, blank])

    assert [(one.is_better, one.is_equal) for one in family(0.05, 0.01)] == [("yes", "open")] * 2
    assert [(one.is_better, one.is_equal) for one in family(-0.05, 0.01)] == [("open", "open")] * 2
    assert [one.is_equal for one in family(0.01, 0.02)] == ["yes"] * 2
    near = family(0.01, 0.02)[0]
    assert near.equal(correct=False)
    assert not near.equal(correct=True)
