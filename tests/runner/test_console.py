"""What stands in the terminal, at 80 columns."""

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fused_clip.method.reference import ReferenceFacts, known_references
from fused_clip.metrics.catalogue import METRICS
from fused_clip.runner import console
from tests.results import make_result

REFERENCES = [
    *known_references().values(),
    ReferenceFacts("mine", "my own", "as its YAML says", "no"),
]
METRIC_NAMES = [
    *METRICS,
    *(facts.accuracy for facts in REFERENCES),
    "seconds/fit",
]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_wide_console", lambda: Console(width=80))


def rows() -> list[dict[str, Any]]:
    axes = itertools.product(["fused_clip.fusion.weighted", "mean"], ["0.5", "1"], range(3))
    return [
        {
            "axes": {"fusion": fusion, "fusion.alpha": alpha, "seed": str(seed), "study": "s"},
            "metrics": dict.fromkeys(METRIC_NAMES, (seed + 1) / 7) | {"missing_targets": float(seed % 2)},
            "references": [dataclasses.asdict(facts) for facts in REFERENCES],
            "setting": {"dataset": "mnist", "backbone": "compact", "rows": "4,000 train and 1,000 test rows"},
            "error": "vote: no" if fusion == "mean" and seed == 2 else "",
            "directory": "/d",
            "run_id": "",
            "reused_from": "",
        }
        for fusion, alpha, seed in axes
    ]


def test_a_sweep_fits_80_columns_without_cutting(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_sweep(rows(), Path("/d"), "", "")
    printed = capsys.readouterr().out
    tables = [line for line in printed.splitlines() if not line.startswith("FAILED")]
    assert max(map(len, tables)) <= 80
    assert "…" not in printed
    assert "mnist · backbone=compact · 4,000 train and 1,000 test rows · 12 jobs" in printed
    assert "linear" in printed, "a reference that is computed is shown"
    assert re.search(r"\bmy\b.*\n.*\bown\b", printed), "and one of the user's own, by its own title"


def test_a_run_names_the_labels_behind_it_and_the_best_reference_without_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    metrics = {"text_in_all": 0.25, "reference/zero_shot_accuracy": 0.5, "seconds/total": 1.0}
    tags = {"text_in_all_against": "linear_probe", "classes_seen": "2 of 3: cat, dog"}
    result = make_result(metrics=metrics, tags=tags, backbone_saw_labels=True, uses_labels=False)
    console.print_run(result, tmp_path, [], "", REFERENCES)
    printed = " ".join(capsys.readouterr().out.split())
    assert "accuracy of the method minus linear probe, the best without text" in printed
    assert "(uses labels: backbone's training)" in printed
    assert "This run uses no labels of its training images." in printed
    assert (
        "trained on labels of 2 of 3 classes: zero-shot, and prompts paired by it, are supervised" in printed
    )


def test_seeds_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_sweep(rows(), Path("/d"), "", "")
    printed = capsys.readouterr().out
    _, means = printed.split("mean ± standard deviation over seed")
    assert means.count(".2857 ± .1429") >= 2, "three seeds"
    assert means.count(".2143 ± .1010") >= 2, "two, where one failed"
    assert ".3 ± .6" in means, "counts too"


def test_without_repetitions_there_are_no_means(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_sweep(rows()[::3], Path("/d"), "", "")
    assert "±" not in capsys.readouterr().out


def test_a_number_from_samples_stands_with_its_interval(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sampled = {"train/silhouette": 0.25, "train/silhouette_low": 0.2, "train/silhouette_high": 0.3}
    metrics = {**sampled, "test/accuracy": 0.5, "seconds/total": 1.0}
    console.print_run(make_result(metrics=metrics), tmp_path, [], "", REFERENCES)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("from samples") == 1
    assert "clusters; from samples, 95 % interval .2000 to .3000" in printed
