from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.studies.factors import FACTORS
from fused_clip.studies.settings import BASE, chosen, circumstances, dataset_name, values
from fused_clip.tracking.records import RunRecord
from tests.study_records import study_record


def test_runs_are_chosen_by_what_they_change_of_the_base(tmp_path: Path) -> None:
    plain = study_record(tmp_path)
    same = study_record(tmp_path, fusion__alpha="0.50", pairing="oracle")
    rotated = study_record(tmp_path, text="rotated")
    both = study_record(tmp_path, text="rotated", clusters_per_target="1")
    records = [plain, same, rotated, both]
    assert chosen(records) == [plain, same]
    assert chosen(records, text="rotated") == [rotated]
    assert chosen(records, text="rotated", clusters_per_target="1") == [both]
    assert chosen(records, prompt="none") == []


def test_a_switch_is_read_as_it_is_written(tmp_path: Path) -> None:
    on = study_record(tmp_path, fusion__normalize_output="True")
    assert chosen([on], fusion__normalize_output="true") == [on]
    assert chosen([on]) == []


def test_a_missing_cell_is_what_its_axes_say() -> None:
    lost = RunRecord("", "", "lost", "MISSING", axes={"dataset": "mnist", "text": "rotated"})
    assert chosen([lost], text="rotated") == [lost]
    assert chosen([lost]) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "vit_b_32"}, "Backbone vit_b_32; official splits; 1 seed."),
        (
            {"dataset.from_split": "test"},
            "Backbone compact, in place of the paper's ViT-B/32: not its numbers; halves of the official "
            "test split as train and test images that it never saw; 1 seed.",
        ),
    ],
)
def test_every_caption_says_what_stands_in(options: dict[str, str], words: str, tmp_path: Path) -> None:
    record = study_record(tmp_path)
    record = replace(record, params={**record.params, **options})
    lost = RunRecord("", "", "lost", "MISSING")
    assert circumstances([record, lost]) == words


def test_names_and_values(tmp_path: Path) -> None:
    records = [study_record(tmp_path, "cifar100_2"), study_record(tmp_path, "digits")]
    assert [dataset_name(name) for name in values(records, "dataset")] == ["CIFAR-100 s2", "digits"]


def test_every_factor_has_the_papers_setting_among_its_levels() -> None:
    for factor in FACTORS:
        changed = [
            {name: value for name, value in options.items() if BASE.get(name) != value}
            for options in factor.levels.values()
        ]
        assert {} in changed, factor.name
        assert all(set(options) <= {*BASE, "pairing.fraction"} for options in factor.levels.values())
