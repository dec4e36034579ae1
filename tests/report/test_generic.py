import io
from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report import Details, Figure, Page, Prose, RunRecord, Table, generic
from fused_clip.report.provenance import problems, runs_section
from fused_clip.report.report_command import page_of
from tests.records import Folder, make_record, missing_record, png


@pytest.fixture
def records(tmp_path: Path) -> list[RunRecord]:
    made = []
    for prompt in ("task", "none"):
        for seed in range(2):
            folder = tmp_path / f"{prompt}{seed}"
            (folder / "figures").mkdir(parents=True)
            (folder / "figures" / "tsne.png").write_bytes(png(size=(3000, 1000)))
            (folder / "config.yaml").write_text(f"dataset: {{name: toy}}\nprompt: {prompt}\nseed: {seed}\n")
            made.append(make_record(prompt, seed, artifacts=Folder(folder)))
    return made


def results(page: Page) -> Table:
    blocks = [block for section in page.sections for block in section.blocks]
    (found,) = (block for block in blocks if isinstance(block, Table) and block.name == "results")
    return found


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_seeds_are_one_row(records: list[RunRecord]) -> None:
    table = results(generic.build(records))
    assert table.columns == ["prompt", "runs", "accuracy", "words in fusion", "ARI"]
    numbers = [".8500 ± .0707", ".0000 ± .0000", ".5000 ± .0000"]
    assert texts(table) == [["task", "2", *numbers], ["none", "2", *numbers]]
    assert table.caption.startswith("Data: toy. Accuracies")
    assert "standard deviation" in table.caption


def test_the_rivals_of_the_text_are_named(records: list[RunRecord]) -> None:
    assert "Text in all" not in results(generic.build(records)).caption
    metrics = {"text_in_all": 0.1, "reference/zero_shot_accuracy": 0.5, "reference/image_only_accuracy": 0.5}
    compared = [
        replace(one, metrics={**one.metrics, **metrics}, tags={"text_in_all_against": "image_only"})
        for one in records
    ]
    caption = results(generic.build(compared)).caption
    assert caption.endswith(" over seeds. Text in all is against image only for toy.")


def test_cells_without_a_number_are_marked(records: list[RunRecord]) -> None:
    page = page_of(
        [*records, missing_record("swapped", 0), missing_record("swapped", 1, "FAILED", error="full")]
    )
    table = results(page)
    assert texts(table)[2] == ["swapped", "0", "-", "-", "-"]
    assert table.rows[2][1].flag == "1 of 2 missing, 1 of 2 failed"
    assert page.problems == [
        "1 of 6 cells failed: prompt=swapped seed=1.",
        "1 of 6 cells missing (never started, or never ended): prompt=swapped seed=0.",
    ]
    runs = next(block for block in page.sections[-1].blocks if isinstance(block, Table))
    assert [row[-1].text for row in runs.rows][-1] == "full"


def test_maps_are_those_of_the_first_seeds_at_the_size_of_a_page(records: list[RunRecord]) -> None:
    from PIL import Image

    figures = [block for block in generic.build(records).sections[1].blocks if isinstance(block, Figure)]
    assert [figure.caption for figure in figures] == [
        "t-SNE of task (run task0)",
        "t-SNE of none (run none0)",
    ]
    with Image.open(io.BytesIO(figures[0].png)) as image:
        assert max(image.size) == 1000


def test_too_many_maps_are_capped_and_the_page_says_so(
    records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generic, "_PICTURES", 1)
    first, second = generic.build(records).sections[1].blocks
    assert first == Prose("The first 1 of 2 maps.")
    assert isinstance(second, Figure)


def test_configs_are_what_all_share_and_what_each_adds(records: list[RunRecord]) -> None:
    shared, *own = [block for block in runs_section(records).blocks if isinstance(block, Details)]
    assert shared.text == "dataset.name: toy"
    assert [block.text for block in own] == [
        f"prompt: {p}\nseed: {s}" for p in ("task", "none") for s in (0, 1)
    ]


def test_warnings_of_runs_stand_once_and_first_of_all() -> None:
    unseen = "compact was not trained on images such as these: use backbone=vit_b_32."
    base = make_record()
    both = [replace(base, run_id=f"r{n}", tags={**base.tags, "warnings": f"{unseen}\n"}) for n in range(2)]
    assert problems(both) == [unseen]
    one = replace(base, run_id="r2", tags={**base.tags, "warnings": f"{unseen}\nother"})
    assert problems([*both, one]) == [unseen, "other (1 of 3 runs)"]
    assert page_of(both).problems == [unseen]


def test_the_chart_stands_above_the_table_and_shows_every_reference(records: list[RunRecord]) -> None:
    blocks = generic.build(records).sections[0].blocks
    assert [type(block) for block in blocks] == [Prose, Figure, Table, Table]
    lost = generic.build([missing_record("task", 0)]).sections[0].blocks
    assert [type(block) for block in lost] == [Prose, Table, Table]


def test_mixed_code_and_data_are_problems() -> None:
    other = make_record(seed=1, tags={"commit": "e" * 40 + "+", "data_fingerprint": "f" * 64})
    found = " ".join(problems([make_record(), other]))
    assert "different commits: cccccccccccc, eeeeeeeeeeee+." in found
    assert "not committed" in found
    assert "different data: fingerprints dddddddddddd, ffffffffffff" in found
    assert problems([make_record()]) == []
