"""Both studies on a few digits, from the command line to the tables of the report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from fused_clip.report import report_command as command
from fused_clip.report.studies.claims import ClaimVerdict
from fused_clip.report.studies.factors import FACTORS
from tests.forks import completed

FEW = [
    "backbone=compact",
    "dataset=digits",
    "dataset.n_train=200",
    "dataset.n_test=100",
    "references.draws=1",
]
GRIDS = (
    "[{prompt:'task,none'},{text:rotated},{fusion.alpha:0.9},{clusters_per_target:1},"
    "{fusion.normalize_output:true},{pairing:zero_shot,vote:'label,prompt'}]"
)


def reported(study: str, folder: Path, *overrides: str) -> Path:
    """Run a study and report on it; the directory of the report."""
    sweep = ["-m", f"experiment={study}", f"output_dir={folder}", "seed=42,43", *FEW, *overrides]
    done = completed(*sweep, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stdout + done.stderr
    assert command.main(["--study", study, "--output-dir", str(folder), "--out", str(folder / "report")]) == 0
    return folder / "report"


def shapes(report: Path) -> dict[str, tuple[int, int]]:
    tables = {path.stem: json.loads(path.read_text()) for path in (report / "tables").glob("*.json")}
    return {name: (len(table["rows"]), len(table["columns"])) for name, table in tables.items()}


def texts(report: Path, table: str, column: str) -> Sequence[str]:
    content = json.loads((report / "tables" / f"{table}.json").read_text())
    return [row[content["columns"].index(column)]["text"] for row in content["rows"]]


@pytest.mark.slow
def test_the_papers_table_on_a_few_digits(tmp_path: Path) -> None:
    report = reported("paper_table1", tmp_path, "prompt=task,none")
    assert shapes(report) == {
        "claims": (8, 4),
        "accuracy": (2, 13),
        "structure": (2, 13),
        "differences": (2, 16),
    }
    assert texts(report, "accuracy", "prompt") == ["task", "none"]
    assert texts(report, "accuracy", "verdict") == ["-", "-"]
    assert all("±" in text for text in texts(report, "accuracy", "linear probe"))
    verdicts = texts(report, "claims", "verdict")
    assert [verdicts[place] for place in (2, 3, 4)] == ["not measured"] * 3
    assert verdicts[5] == "supported with labels, not measured without"
    assert set(verdicts) <= set(get_args(ClaimVerdict))
    assert texts(report, "differences", "seeds") == ["2", "2"]
    assert texts(report, "differences", "test rows") == ["200", "200"]
    assert len(list((report / "figures").glob("*.png"))) == 2
    words = (report / "report.md").read_text()
    assert "not the paper's train and test images" in words
    assert "in place of the paper's ViT-B/32" in words
    (reasons,) = [line for line in words.splitlines() if line.startswith("Not comparable, of 4 runs")]
    conditions = [reason.partition(" (")[0] for reason in reasons.split(": ", 1)[1].split("; ")]
    assert conditions == ["weights", "preprocessing", "images", "model"], (
        "all else is recorded as the paper's"
    )


@pytest.mark.slow
def test_the_audit_on_a_few_digits(tmp_path: Path) -> None:
    report = reported("text_contribution", tmp_path, f"hydra.sweeper.grids={GRIDS}")
    factors = {factor.name: (len(factor.levels), 14) for factor in FACTORS}
    assert shapes(report) == {**factors, "label_free": (1, 10), "differences": (12, 16)}
    rotated = texts(report, "text", "accuracy")
    assert "±" in rotated[0]
    assert "±" in rotated[2]
    assert rotated[1] == rotated[3] == "-"
    assert texts(report, "label_free", "prompt") == ["task"]
    assert len(list((report / "figures").glob("*.png"))) == len(FACTORS)


@pytest.mark.slow
def test_the_spacing_of_prompts_on_a_few_digits(tmp_path: Path) -> None:
    report = reported("prompt_spacing", tmp_path, "text.share=1,0.1")
    assert shapes(report) == {"spacing": (2, 9), "published_gaps": (0, 7)}
    whole, tenth = (float(text.split()[0]) for text in texts(report, "spacing", "prompt spacing"))
    assert whole == pytest.approx(10 * tenth, rel=1e-3)
    assert texts(report, "spacing", "task - swapped")[0] == ".0000 ± .0000"
    assert len(list((report / "figures").glob("*.png"))) == 1
