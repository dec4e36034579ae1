from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report import Prose, Section, Table
from fused_clip.report.studies.factors import FACTORS
from fused_clip.report.studies.settings import (
    BASE,
    apart,
    by_setting,
    chosen,
    circumstances,
    dataset_name,
    values,
)
from fused_clip.tracking.records import RunRecord
from tests.study_records import PAPERS_OPTIONS, PAPERS_TAGS, study_record


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


PAPERS = {**PAPERS_OPTIONS, **PAPERS_TAGS}
INSTEAD = ", in place of the paper's ViT-B/32: not its numbers"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PAPERS, "Backbone vit_b_32; official splits; 1 seed."),
        ({}, f"Backbone compact{INSTEAD}; official splits; 1 seed."),
        (
            {**PAPERS, "backbone.pretrained": "laion2b", "backbone_weights": "d" * 64},
            f"Backbone vit_b_32 with the weights laion2b{INSTEAD}; official splits; 1 seed.",
        ),
        (
            PAPERS_OPTIONS,
            "Backbone vit_b_32, whose weights are not recorded: perhaps not the paper's numbers; "
            "official splits; 1 seed.",
        ),
        (
            {"dataset.from_split": "test", "n_train": "5000"},
            f"Backbone compact{INSTEAD}; halves of the official test split as train and test images that it "
            "never saw; 1 seed.",
        ),
        (
            {**PAPERS, "dataset.from_split": "test", "dataset.n_train": "500", "n_train": "500"},
            "Backbone vit_b_32; subsets of the official test split as train and test images; 1 seed.",
        ),
        (
            {"dataset": "digits", "n_train": "1437"},
            f"Backbone compact{INSTEAD}; not the paper's train and test images; 1 seed.",
        ),
        (
            {**PAPERS, "dataset.n_train": "500", "n_train": "500"},
            "Backbone vit_b_32; not the paper's train and test images; 1 seed.",
        ),
    ],
)
def test_every_caption_says_what_stands_in(options: dict[str, str], words: str, tmp_path: Path) -> None:
    record = study_record(tmp_path)
    sizes = {"n_train": options.get("n_train", "60000"), "n_test": "10000"}
    tags = {**sizes, **{name: options[name] for name in PAPERS_TAGS.keys() & options.keys()}}
    params = {**record.params, **{name: options[name] for name in options.keys() - PAPERS_TAGS.keys()}}
    record = replace(record, params=params, tags=tags)
    lost = RunRecord("", "", "lost", "MISSING")
    assert circumstances([record, lost]) == words


def test_captions_speak_of_all_runs_and_not_of_any(tmp_path: Path) -> None:
    halved = study_record(tmp_path, dataset__from_split="test")
    mixed = [halved, study_record(tmp_path, "digits")]
    assert "; not the paper's train and test images; " in circumstances(mixed)


def test_runs_of_other_settings_are_not_pooled(tmp_path: Path) -> None:
    compact = [study_record(tmp_path, seed=seed, dataset__from_split="test") for seed in (42, 43)]
    null = study_record(tmp_path, seed=44, dataset__n_train="null", dataset__from_split="test")
    paper = study_record(tmp_path, seed=42, backbone="vit_b_32")
    small = study_record(tmp_path, seed=43, backbone="vit_b_32", dataset__n_train="500")
    assert by_setting([*compact, null]) == {"": [*compact, null]}
    found = by_setting([*compact, null, paper, small])
    assert found == {
        "backbone=compact": [*compact, null],
        "backbone=vit_b_32, dataset.n_train=null": [paper],
        "backbone=vit_b_32, dataset.n_train=500": [small],
    }


def test_a_lost_cell_stays_with_the_runs_of_its_sweep(tmp_path: Path) -> None:
    """The first sweep named the backbone; the second took the experiment's."""
    told = {"backbone": "compact", "seed": "42"}
    compact = replace(study_record(tmp_path), axes=told)
    paper = replace(study_record(tmp_path, backbone="vit_b_32"), axes={"seed": "42"})
    lost = [
        RunRecord("", "", "lost", "MISSING", axes={**axes, "seed": "43"}) for axes in (told, {"seed": "42"})
    ]
    failed = RunRecord("failed", "", "failed", "FAILED", axes={"seed": "44"}, params={"seed": "44"})
    assert list(by_setting([compact, paper, *lost, failed]).values()) == [
        [compact, lost[0]],
        [paper, lost[1], failed],
    ]


def test_each_setting_has_its_own_sections_and_table_files(tmp_path: Path) -> None:
    records = [study_record(tmp_path), study_record(tmp_path, backbone="vit_b_32")]

    def build(some: object) -> list[Section]:
        return [Section("Results", [Prose("words"), Table("caption", [], [], "results")])]

    sections, problems = apart(records, build)
    assert [section.title for section in sections] == [
        "Results: backbone=compact",
        "Results: backbone=vit_b_32",
    ]
    names = [block.name for section in sections for block in section.blocks if isinstance(block, Table)]
    assert names == ["results-backbone-compact", "results-backbone-vit_b_32"]
    assert problems == [
        "The runs are of 2 settings, in separate tables: backbone=compact; backbone=vit_b_32."
    ]
    assert apart(records[:1], build) == (build(None), [])


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
