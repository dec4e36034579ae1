"""Columns that follow from the runs, and their explanations."""

from dataclasses import replace
from pathlib import Path

from fused_clip.method.reference import known_references
from fused_clip.report.explained_columns import columns_table, metrics_of, references_of
from fused_clip.tracking.records import RunRecord
from tests.records import Folder, make_record


def with_references(*names: str, folder: Path | None = None) -> RunRecord:
    metrics = {"test/accuracy": 0.5, **{f"reference/{name}_accuracy": 0.5 for name in names}}
    return make_record(metrics=metrics, **({"artifacts": Folder(folder)} if folder else {}))


def test_every_reference_that_a_run_computed_is_shown_and_no_other() -> None:
    records = [with_references("linear_probe"), with_references("zero_shot", "linear_probe")]
    assert [facts.title for facts in references_of(records)] == ["linear probe", "zero-shot"]
    everyone = list(known_references())
    assert [facts.name for facts in references_of([with_references(*everyone)])] == everyone


def test_a_runs_own_config_explains_the_references_of_its_user(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "reference:\n"
        "  mine: {title: my rival, explanation: a nearest neighbour, uses_labels: yes}\n"
        "  zero_shot: {title: renamed, explanation: as it is here, uses_labels: 'no'}\n"
    )
    found = references_of([with_references("mine", "zero_shot", folder=tmp_path)])
    assert {facts.name: facts.title for facts in found} == {"mine": "my rival", "zero_shot": "renamed"}


def test_a_reference_that_nobody_explains_is_shown_by_its_name() -> None:
    (facts,) = references_of([with_references("of_another_version")])
    assert (facts.title, facts.accuracy) == ("of another version", "reference/of_another_version_accuracy")


def test_columns_are_explained_a_line_each() -> None:
    records = [with_references("linear_probe")]
    table = columns_table([*metrics_of(records), *references_of(records)], records)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["accuracy", "-", "the method, on test images"],
        ["linear probe", "yes", known_references()["linear_probe"].explanation],
    ]


def test_labels_in_the_training_of_the_backbone_are_said() -> None:
    record = with_references("linear_probe", "zero_shot")
    record = replace(record, tags={"backbone_saw_labels": "true"})
    table = columns_table(references_of([record]), [record])
    assert [row[1].text for row in table.rows] == ["yes; backbone's training", "backbone's training"]
    table = columns_table(references_of([record]), [record, with_references("zero_shot")])
    assert table.rows[1][1].text == "backbone's training of some runs"
