"""The audit's figures and comparisons on runs made up."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from fused_clip.report import Figure, Table
from fused_clip.report.studies import text_contribution
from fused_clip.report.studies.curves import METHOD, Panel
from fused_clip.report.studies.factors import FACTORS
from fused_clip.report.studies.text_contribution import comparisons, page, panels_of
from fused_clip.tracking.records import RunRecord
from tests.study_records import study_record


def at(folder: Path, clusters: int, **metrics: float) -> list[RunRecord]:
    return [
        study_record(
            folder,
            seed=seed,
            references={"image_only": 100 + clusters, "zero_shot": 10},
            metrics={name.replace("__", "/"): value for name, value in metrics.items()},
            clusters_per_target=str(clusters),
        )
        for seed in (42, 43)
    ]


def test_a_reference_is_drawn_where_it_was_measured_and_as_it_was_there(tmp_path: Path) -> None:
    """Image only at two levels, zero-shot's ARI at the second alone, and nothing at the third."""
    levels = [
        at(tmp_path, 1, train__ari=0.5, reference__image_only_ari=0.3, reference__image_only_purity=0.6),
        at(
            tmp_path,
            2,
            train__ari=0.6,
            reference__image_only_ari=0.4,
            reference__image_only_purity=0.7,
            reference__zero_shot_ari=0.9,
        ),
        [],
    ]
    accuracy, ari, purity = panels_of("mnist", levels)
    assert [panel.measure for panel in (accuracy, ari, purity)] == ["accuracy", "ARI", "purity"]
    assert accuracy.lines == {
        METHOD: [[0.9, 0.9], [0.9, 0.9], []],
        "zero-shot": [[0.975, 0.975], [0.975, 0.975], []],
        "image only": [[299 / 400] * 2, [298 / 400] * 2, []],
    }
    assert ari.lines == {
        METHOD: [[0.5, 0.5], [0.6, 0.6], []],
        "zero-shot": [[], [0.9, 0.9], []],
        "image only": [[0.3, 0.3], [0.4, 0.4], []],
    }
    assert purity.lines == {METHOD: [[0.9, 0.9], [0.9, 0.9], []], "image only": [[0.6, 0.6], [0.7, 0.7], []]}


def test_each_normalisation_is_compared_with_image_only_normalised_alike(tmp_path: Path) -> None:
    records = [
        study_record(tmp_path, seed=seed, wrong=wrong, references={"image_only": 60}, **options)
        for seed in (42, 43)
        for wrong, options in (
            (50, {}),
            (50, {"text": "rotated"}),
            (30, {"fusion__normalize_inputs": "true"}),
        )
    ]
    compared = comparisons(records)
    found = {(one.first, one.second): one.estimate.mean for one in compared}
    assert len(found) == len(compared), "no pair of arms is compared twice"
    assert found["task, inputs normalised", "image only, inputs normalised"] == pytest.approx(30 / 400)
    assert found["task, inputs normalised", "task"] == pytest.approx(20 / 400)
    assert found["task", "image only"] == pytest.approx(10 / 400)


@pytest.mark.slow
def test_the_captions_name_the_rivals_of_the_text(tmp_path: Path) -> None:
    """Of the runs of each table: without labels it is another reference than with them."""
    records = [
        replace(record, metrics={**record.metrics, "text_in_all": 0.1}, tags={"text_in_all_against": rival})
        for rival, options in (
            ("class_means", {}),
            ("class_means", {"text": "rotated"}),
            ("image_only", {"pairing": "zero_shot", "vote": "prompt"}),
        )
        for record in [study_record(tmp_path, references={"image_only": 60, "class_means": 30}, **options)]
    ]
    tables = [block for section in page(records).sections for block in section.blocks]
    captions = {block.name: block.caption for block in tables if isinstance(block, Table)}
    assert captions["label_free"].endswith("Text in all is against image only for MNIST.")
    assert captions["text"].endswith("Text in all is against class means for MNIST.")


@pytest.mark.slow
def test_every_picture_says_what_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the picture itself, which is shown without the page's caption elsewhere."""
    from matplotlib.figure import Figure as Drawing

    written: list[str] = []
    save = Drawing.savefig

    def kept(self: Drawing, *args: object, **options: object) -> None:
        written.extend(text.get_text() for text in self.findobj(Text))
        save(self, *args, **options)

    monkeypatch.setattr(Drawing, "savefig", kept)
    records = [study_record(tmp_path, text=text) for text in ("prompt", "rotated")]
    figures = [b for s in page(records).sections for b in s.blocks if isinstance(b, Figure)]
    assert len(figures) == len(FACTORS)
    assert sum("in place of the paper's ViT-B/32" in text for text in written) == len(FACTORS)


def audited(tmp_path: Path) -> list[RunRecord]:
    """Three seeds of task, of rotated text, and of task without training labels."""
    return [
        replace(
            study_record(tmp_path, seed=seed, wrong=wrong, references=references, metrics=metrics, **options),
            tags={"text_in_all_against": "image_only"},
        )
        for seed in (42, 43, 44)
        for wrong, references, metrics, options in (
            (20, {"image_only": 60, "zero_shot": 100}, {"words_in_fusion": 0.05, "text_in_all": 0.1}, {}),
            (40, {"image_only": 60, "zero_shot": 100}, {"train/prompt_purity": 0.8}, {"text": "rotated"}),
            (
                80,
                {"image_only_hungarian": 120, "zero_shot": 100},
                {"missing_targets": 1.0, "train/ari": 0.25},
                {"pairing": "zero_shot", "vote": "prompt"},
            ),
        )
    ]


def cells(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_tables_of_the_audit_hold_each_level_and_its_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def unseen(panels: list[Panel], levels: list[str], axis: str, **options: object) -> bytes:
        drawn.extend(f"{axis}: {panel.dataset} {panel.measure} {len(levels)}" for panel in panels)
        return b"png"

    monkeypatch.setattr(text_contribution, "draw_curves", unseen)
    made = page(audited(tmp_path))
    assert made.title == "What the words contribute"
    assert not made.problems
    assert [section.title for section in made.sections] == [
        "Which differences are significant",
        *(factor.title for factor in FACTORS),
        "Without training labels",
        "The references",
    ]
    blocks = [block for section in made.sections for block in section.blocks]
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert drawn[:3] == ["text rows: MNIST accuracy 5", "text rows: MNIST ARI 5", "text rows: MNIST purity 5"]

    words, rotated = cells(tables["text"])[0], cells(tables["text"])[2]
    assert (words["dataset"], words["text rows"], rotated["text rows"]) == ("MNIST", "prompt", "rotated")
    assert (words["accuracy"], rotated["accuracy"]) == (".9500 ± .0000", ".9000 ± .0000")
    assert (words["words in fusion"], words["text in all"]) == (".0500 ± .0000", ".1000 ± .0000")
    assert (words["image only"], words["zero-shot"]) == (".8500 ± .0000", ".7500 ± .0000")
    assert (words["prompt purity"], rotated["prompt purity"]) == ("-", ".8000 ± .0000")
    assert tables["text"].caption.startswith("What stands in the place of the words. ")
    assert tables["text"].caption.endswith("Text in all is against image only for MNIST.")

    words_first = next(row for row in cells(tables["differences"]) if "image only" in row.values())
    assert words_first["dataset"] == "MNIST"
    assert "+.1000" in words_first.values()

    (free,) = cells(tables["label_free"])
    assert (free["dataset"], free["prompt"], free["method"]) == ("MNIST", "task", ".8000 ± .0000")
    assert (free["image-only clusters, matched"], free["zero-shot"]) == (".7000 ± .0000", ".7500 ± .0000")
    assert (free["ARI"], free["missing targets"]) == (".2500 ± .0000", "in 3 of 3")
    assert tables["label_free"].caption.startswith("Test accuracy without training labels. ")


def test_runs_without_labels_are_compared_with_references_without_labels(tmp_path: Path) -> None:
    compared = comparisons(audited(tmp_path))
    found = {one.second: one.estimate.mean for one in compared if "no training labels" in one.first}
    assert found == pytest.approx({"image-only clusters, matched": 40 / 400, "zero-shot": 20 / 400})
    assert {one.first for one in compared} >= {"task", "task, no training labels"}
