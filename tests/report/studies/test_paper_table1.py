"""The page of the paper's table on runs made up: verdicts, corrections, what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report.page import Figure, Page, Prose, Table, TableCell
from fused_clip.report.studies.paper_table1 import page
from fused_clip.tracking.records import RunRecord
from tests.study_records import PAPERS_OPTIONS, PAPERS_TAGS, study_record


def as_published(folder: Path, **changes: str) -> list[RunRecord]:
    """Two seeds of MNIST with the paper's backbone and splits; task near the published .85, none far off."""
    records = []
    for prompt, wrong in (("task", 60), ("none", 40)):
        for seed in (42, 43):
            made = study_record(folder, prompt=prompt, seed=seed, wrong=wrong + seed % 2)
            params = {**made.params, **PAPERS_OPTIONS}
            params |= {name: value for name, value in changes.items() if name not in PAPERS_TAGS}
            tags = {name: changes.get(name, value) for name, value in PAPERS_TAGS.items()}
            records.append(replace(made, params=params, tags=tags))
    return records


def table(made: Page, name: str) -> Table:
    blocks = [block for section in made.sections for block in section.blocks]
    (found,) = (block for block in blocks if isinstance(block, Table) and block.name == name)
    return found


def column(made: Page, name: str, heading: str) -> list[TableCell]:
    rows = table(made, name)
    return [row[rows.columns.index(heading)] for row in rows.rows]


def test_with_the_papers_backbone_numbers_are_judged(tmp_path: Path) -> None:
    made = page(as_published(tmp_path))
    assert [cell.text for cell in column(made, "accuracy", "verdict")] == ["reproduced", "not reproduced"]
    published = column(made, "accuracy", "published")
    assert [(cell.text, cell.flag) for cell in published] == [(".8500", ""), (".1073", "corrected")]
    assert column(made, "accuracy", "measured")[0].run_ids == (
        "mnist-task-42-compact",
        "mnist-task-43-compact",
    )
    assert not reasons(made)
    words = [b.text for s in made.sections for b in s.blocks if isinstance(b, Prose)]
    assert any(text.startswith("Corrected: The published code loops over") for text in words)


RANDOM = {"backbone_weights": "d" * 64, "backbone.pretrained": "/somewhere/random.safetensors"}
K_MEANS = {"clusterer": "kmeans", "clusterer._target_": "sklearn.cluster.KMeans"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backbone.model": "compact"}, "model (backbone.model is compact, not ViT-B-32-quickgelu) in 4"),
        (RANDOM, "weights (SHA-256 dddddddddddd is not of OpenAI's) in 4"),
        ({**RANDOM, **K_MEANS}, "clusterer (clusterer._target_ is sklearn.cluster.KMeans, not "),
        ({"backbone_precision": "bfloat16"}, "precision (bfloat16, not float32) in 4"),
    ],
)
def test_nothing_is_reproduced_in_another_setting(
    changes: dict[str, str], reason: str, tmp_path: Path
) -> None:
    made = page(as_published(tmp_path, **changes))
    assert {cell.text for cell in column(made, "accuracy", "verdict")} == {"not comparable"}
    (words,) = reasons(made)
    assert words.startswith("Not comparable, of 4 runs: ")
    assert reason in words


def reasons(made: Page) -> list[str]:
    blocks = [block for section in made.sections for block in section.blocks if isinstance(block, Prose)]
    return [block.text for block in blocks if block.text.startswith("Not comparable, of")]


def test_another_backbone_in_the_same_store_has_its_own_tables(tmp_path: Path) -> None:
    compact = [study_record(tmp_path, prompt=p, seed=seed) for p in ("task", "none") for seed in (42, 43)]
    made = page([*compact, *as_published(tmp_path / "vit_b_32")])
    alone = page(as_published(tmp_path / "alone"))
    kept = table(made, "accuracy-backbone-vit_b_32")
    assert [[cell.text for cell in row] for row in kept.rows] == [
        [cell.text for cell in row] for row in table(alone, "accuracy").rows
    ]
    assert column(made, "accuracy-backbone-compact", "verdict")[0].text == "not comparable"
    assert "2 settings" in made.problems[0]


def test_every_reference_has_its_column(tmp_path: Path) -> None:
    references = {"zero_shot": 10, "zero_shot_via_class": 20, "nearest_cluster_mean": 30}
    made = page([study_record(tmp_path, prompt="grouped", references=references)])
    row = [
        column(made, "accuracy", name)[0].text
        for name in ("zero-shot", "zero-shot via class", "cluster means")
    ]
    assert row == [".9750", ".9500", ".9250"]


def test_the_caption_names_the_rivals_of_the_text(tmp_path: Path) -> None:
    records = [
        replace(record, metrics={**record.metrics, "text_in_all": 0.1}, tags={"text_in_all_against": rival})
        for dataset, rivals in (("mnist", ["linear_probe"] * 2), ("cifar10", ["linear_probe", "image_only"]))
        for seed, rival in enumerate(rivals)
        for record in [study_record(tmp_path, dataset, seed=seed, references={"image_only": 9})]
    ]
    assert table(page(records), "accuracy").caption.endswith(
        "Text in all is against linear_probe for MNIST; linear_probe (1 of 2 runs) or image only (1 of 2 "
        "runs) for CIFAR-10."
    )


def test_cells_that_are_missing_or_failed_are_marked(tmp_path: Path) -> None:
    records = as_published(tmp_path)
    records[1] = replace(records[1], status="FAILED", metrics={})
    lost = RunRecord("", "", "lost", "MISSING", axes={"dataset": "mnist", "prompt": "swapped"})
    made = page([*records, lost])
    assert [cell.flag for cell in column(made, "accuracy", "measured")] == ["1 of 2 failed", "", "missing"]
    assert column(made, "accuracy", "verdict")[2].text == "not measured"
    assert column(made, "structure", "missing targets")[2].text == "-"


def test_without_the_runs_files_there_are_no_maps(tmp_path: Path) -> None:
    made = page(as_published(tmp_path))
    (maps,) = (section for section in made.sections if section.title == "Maps")
    assert not any(isinstance(block, Figure) for block in maps.blocks)
    assert "not on this machine" in maps.blocks[0].text  # type: ignore[union-attr]
