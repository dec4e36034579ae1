"""Gaps between true and swapped prompts on runs made up."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fused_clip.report import Figure, Table
from fused_clip.report.studies.prompt_spacing import (
    as_large,
    gap_table,
    is_allowed,
    page,
    published_table,
    spaced_arms,
)
from fused_clip.tracking.records import RunRecord
from tests.records import missing_record
from tests.study_records import study_record

# Test rows that are wrong with true and with swapped prompts in each of two seeds, by share.
WRONG = {"1": ((40, 40), (42, 42)), "0.3": ((40, 44), (42, 30)), "0.1": ((60, 100), (60, 120))}
SPACING = {"1": 4.0, "0.3": 1.2, "0.1": 0.4}
PURITY = {"1": (1.0, 1.0), "0.3": (0.9, 0.8), "0.1": (0.5, 0.6)}


@pytest.fixture
def records(tmp_path: Path) -> list[RunRecord]:
    return [
        study_record(
            tmp_path,
            dataset,
            prompt,
            seed,
            wrong=WRONG[share][place][arm],
            metrics={"train/prompt_spacing": SPACING[share], "train/prompt_purity": PURITY[share][arm]},
            text="shrunk",
            text__share=share,
        )
        for dataset in ("mnist", "cifar100_5", "digits")
        for share in WRONG
        for arm, prompt in enumerate(("task", "swapped"))
        for place, seed in enumerate((42, 43))
    ]


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_gaps_are_taken_seed_by_seed(records: Sequence[RunRecord]) -> None:
    table = gap_table(spaced_arms(records), "setting")
    assert len(table.rows) == 9
    assert texts(table)[1] == [
        *("MNIST", "0.3", "1.2000 ± .0000", ".8000"),
        *(".8975 ± .0035", ".9075 ± .0247", "-.0100 ± .0283", ".0200 ± .0141"),
    ]
    assert [row[7] for row in texts(table)[:3]] == [".0000 ± .0000", ".0200 ± .0141", ".1250 ± .0354"]


def test_a_seed_that_lacks_an_arm_has_no_gap_and_is_marked(records: Sequence[RunRecord]) -> None:
    axes = {"dataset": "mnist", "prompt": "swapped", "text": "shrunk", "text.share": "1", "seed": "43"}
    absent = missing_record("swapped", 43, axes=axes)
    lost = "mnist-swapped-43-compact-shrunk-1"
    kept = [record for record in records if record.run_id != lost]
    assert len(kept) == len(records) - 1
    cell = gap_table(spaced_arms([*kept, absent]), "setting").rows[0][6]
    assert (cell.text, cell.flag) == (".0000", "1 of 4 missing")


def test_published_gaps_stand_next_to_those_measured(records: Sequence[RunRecord]) -> None:
    """MNIST -.0167 and s5 -.088, more than pure clusters allow; digits are no set of the paper."""
    table = published_table(spaced_arms(records), "setting")
    assert texts(table) == [
        ["MNIST", "-.0167", ".0000 ± .0000", "4.0000 ± .0000", "1.0000", "no", "1.2000"],
        ["CIFAR-100 s5", "-.0880", ".0000 ± .0000", "4.0000 ± .0000", "1.0000", "no", ".4000"],
    ]


def test_a_gap_that_no_spacing_has_is_nowhere(records: Sequence[RunRecord]) -> None:
    arms = [one for one in spaced_arms(records) if one.dataset == "mnist"]
    assert as_large(0.03, arms) == 1.2, "of one seed, with the other sign"
    assert as_large(0.15, arms) == 0.4
    assert as_large(0.16, arms) is None


@pytest.mark.parametrize(
    ("gap", "allowed"), [(0.0, True), (0.0002, True), (-0.796 + 0.795, True), (0.002, False)]
)
def test_pure_clusters_allow_near_ties_and_no_more(gap: float, allowed: bool) -> None:
    assert is_allowed(gap) == allowed


def test_the_page_has_a_figure_and_both_tables(records: Sequence[RunRecord]) -> None:
    made = page(records)
    blocks = [block for section in made.sections for block in section.blocks]
    assert [block.name for block in blocks if isinstance(block, Table)] == ["spacing", "published_gaps"]
    (figure,) = (block for block in blocks if isinstance(block, Figure))
    assert figure.png.startswith(b"\x89PNG")
    assert "in place of the paper's ViT-B/32" in figure.caption


def test_each_backbone_has_tables_of_its_own(records: Sequence[RunRecord], tmp_path: Path) -> None:
    metrics = {"train/prompt_spacing": 9.0, "train/prompt_purity": 1.0}
    other = [
        study_record(
            tmp_path, "mnist", arm, backbone="other", metrics=metrics, text="shrunk", text__share="1"
        )
        for arm in ("task", "swapped")
    ]
    made = page([*records, *other])
    names = [block.name for section in made.sections for block in section.blocks if isinstance(block, Table)]
    assert sorted(names) == [
        f"{name}-backbone-{backbone}"
        for name in ("published_gaps", "spacing")
        for backbone in ("compact", "other")
    ]


def test_without_finished_runs_nothing_is_drawn() -> None:
    axes = {"dataset": "mnist", "text": "shrunk", "text.share": "1", "seed": "42"}
    planned = [missing_record(arm, 42, axes={**axes, "prompt": arm}) for arm in ("task", "swapped")]
    blocks = [block for section in page(planned).sections for block in section.blocks]
    assert not [block for block in blocks if isinstance(block, Figure)]
    (row,) = next(block for block in blocks if isinstance(block, Table)).rows
    assert [cell.text for cell in row] == ["MNIST", "1", *["-"] * 6]
