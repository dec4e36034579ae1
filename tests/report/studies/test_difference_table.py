from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report.page import Prose, Table
from fused_clip.report.studies.difference_table import difference_blocks, difference_table, signed
from fused_clip.report.studies.pairs import Answers, Arm, Comparison, corrected
from tests.study_records import study_record


def compared(folder: Path, wrong: int, rival: int, seeds: int = 3) -> Comparison:
    """Two arms with so many of 400 rows wrong, in each seed the same."""
    arms = [
        Arm(name, [study_record(folder, seed=seed, wrong=some, name=name) for seed in range(seeds)])
        for name, some in (("first", wrong), ("second", rival))
    ]
    (one,) = corrected([Answers().compare("MNIST", *arms)])
    return one


def texts(one: Comparison) -> dict[str, str]:
    table = difference_table([one], "caption")
    return dict(zip(table.columns, [cell.text for cell in table.rows[0]], strict=True))


def test_a_row_has_the_test_the_margin_and_the_counts(tmp_path: Path) -> None:
    one = compared(tmp_path, 20, 80)
    assert texts(one) == {
        "dataset": "MNIST",
        "first": "first",
        "second": "second",
        "first - second": "+.1500",
        "95 % interval, uncorrected": f"[{signed(one.estimate.low)}, {signed(one.estimate.high)}]",
        "p, uncorrected": "< .001",
        "p, Holm": "< .001",
        "significant, Holm": "yes",
        "margin": "±.0050",
        "p of equivalence, uncorrected": "1.000",
        "p of equivalence, Holm": "1.000",
        "seeds": "3",
        "test rows": "1200",
        "only first right": "180",
        "only second right": "0",
        "McNemar's p of the seeds": "< .001",
    }


def test_few_rows_that_differ_are_not_significant(tmp_path: Path) -> None:
    row = texts(compared(tmp_path, 20, 23))
    assert (row["first - second"], row["significant, Holm"]) == ("+.0075", "no")
    assert row["McNemar's p of the seeds"] == ".250"


def test_one_seed_has_a_row_but_no_test(tmp_path: Path) -> None:
    row = texts(compared(tmp_path, 20, 80, seeds=1))
    assert row["first - second"] == "+.1500"
    names = ("95 % interval, uncorrected", "p, uncorrected", "p, Holm", "significant, Holm")
    names += ("p of equivalence, uncorrected", "p of equivalence, Holm")
    assert [row[name] for name in names] == ["-"] * 6
    assert row["McNemar's p of the seeds"] == "< .001"


def test_what_was_not_compared_has_a_row_of_dashes(tmp_path: Path) -> None:
    row = list(texts(replace(Comparison("MNIST", "first", "second"), flag="3 of 6 failed")).values())
    assert row[3:] == ["-"] * 8 + ["0"] * 4 + ["-"]


def test_the_family_is_stated(tmp_path: Path) -> None:
    one = compared(tmp_path, 20, 80)
    untested = Comparison("CIFAR-100 s1", "first", "second")
    family = [one, replace(one, second="alike"), replace(one, dataset="CIFAR-10"), untested]
    *words, table = difference_blocks(family, "first against second", "caption")
    said = " ".join(block.text for block in words if isinstance(block, Prose))
    assert "over one family: first against second. These are 3 tests, one a row with a p-value" in said
    assert isinstance(table, Table)
    assert len(table.rows) == 4


def test_equivalences_are_a_second_family(tmp_path: Path) -> None:
    """The table has the p-values behind "equal", and the page states the chance of an error in both."""
    alike = compared(tmp_path, 100, 100)
    family = corrected([alike, replace(alike, dataset="CIFAR-10")])
    *words, table = difference_blocks(family, "first against second", "caption")
    assert isinstance(table, Table)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    p, holm = row["p of equivalence, uncorrected"].value, row["p of equivalence, Holm"].value
    assert p == alike.equivalence < 0.05
    assert holm == pytest.approx(2 * p)
    said = " ".join(block.text for block in words if isinstance(block, Prose))
    assert "as a second family: the chance of any error in both families together is up to .10" in said


@pytest.mark.parametrize(("value", "text"), [(0.001, "+.0010"), (-0.001, "-.0010"), (0.00001, ".0000")])
def test_a_difference_has_its_sign(value: float, text: str) -> None:
    assert signed(value) == text
