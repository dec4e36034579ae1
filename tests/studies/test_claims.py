"""Each claim on runs made up so that it holds, holds only with labels, or does not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fused_clip.studies.claims import check, claims_table, judge
from fused_clip.studies.evidence import Evidence
from fused_clip.tracking.records import RunRecord
from tests.study_records import study_record

SEEDS = (42, 43, 44)
DATASETS = ("mnist", "cifar10")


def runs(folder: Path, **changes: dict[str, object]) -> list[RunRecord]:
    """All that the claims ask for, on two datasets; as many rows wrong as `changes` say of a strategy.

    Here the text helps whenever labels choose it, and not otherwise.
    """
    arms: dict[str, dict[str, object]] = {
        "task": {"prompt": "task", "wrong": 40, "ari": 0.7, "followed": 1.0},
        "none": {"prompt": "none", "wrong": 100, "ari": 0.5},
        "swapped": {"prompt": "swapped", "wrong": 40, "followed": 1.0},
        "grouped": {"prompt": "grouped", "wrong": 20, "followed": 1.0},
        "one": {"prompt": "task", "wrong": 60, "clusters_per_target": "1", "followed": 1.0},
        "blind": {"prompt": "task", "wrong": 100, "pairing": "zero_shot", "ari": 0.5, "followed": 0.9},
        "blind_groups": {"prompt": "grouped", "wrong": 80, "pairing": "zero_shot", "followed": 1.0},
    }
    made = []
    for dataset in DATASETS:
        for name, arm in arms.items():
            own = {**arm, **changes.get(name, {})}
            metrics = {"train/ari": own.pop("ari", 0.5), "missing_targets": own.pop("missing", 0.0)}
            if "followed" in own:
                metrics["train/prompt_purity"] = own.pop("followed")
            for seed in SEEDS:
                shaken = {**metrics, "train/ari": float(str(metrics["train/ari"])) + 0.001 * (seed % 2)}
                references = {"zero_shot": 35, "image_only": 80}
                made.append(
                    study_record(folder, dataset, seed=seed, references=references, metrics=shaken, **own)  # type: ignore[arg-type]
                )
    return made


def verdicts(records: Sequence[RunRecord]) -> list[str]:
    return [claim.holds for claim in check(Evidence(records))]


def test_each_claim_has_its_verdict(tmp_path: Path) -> None:
    claims = {claim.name: claim for claim in check(Evidence(runs(tmp_path)))}
    with_labels = "holds only with labels"
    assert {name: claim.holds for name, claim in claims.items()} == {
        "Task prompts beat image only in ARI": with_labels,
        "Task prompts beat image only in accuracy": with_labels,
        "Swapped prompts do as well as task prompts": with_labels,
        "Grouped prompts serve binary tasks": with_labels,
        "Two clusters a target beat one": "holds",
        "No target goes missing": "holds",
        "The text dominates the structure": with_labels,
        "Task prompts are consistently best": "holds",
    }
    accuracy = claims["Task prompts beat image only in accuracy"]
    assert accuracy.evidence.startswith(
        "Against image only: +.1500 to +.1500; really better in 2 and worse in 0 of 2 datasets."
    )
    best = claims["Task prompts are consistently best"].evidence
    assert "ahead of zero-shot classification in 0 of 2" in best
    assert best.endswith("In the published table: best of three in 4 of 7.")


@pytest.mark.parametrize(
    ("claim", "changes", "verdict"),
    [
        (0, {"blind": {"ari": 0.6}}, "holds"),
        (0, {"task": {"ari": 0.5}}, "does not hold"),
        (1, {"blind": {"wrong": 50}}, "holds"),
        (1, {"task": {"wrong": 98}}, "does not hold"),
        (2, {"swapped": {"wrong": 55}}, "does not hold"),
        (3, {"blind_groups": {"wrong": 20}}, "holds"),
        (3, {"grouped": {"wrong": 78}}, "does not hold"),
        (4, {"one": {"wrong": 41}}, "does not hold"),
        (5, {"blind": {"missing": 1.0}}, "holds only with labels"),
        (5, {"swapped": {"missing": 1.0}}, "does not hold"),
        (6, {"blind": {"followed": 0.99}}, "holds"),
        (6, {"grouped": {"followed": 0.9}}, "does not hold"),
        (7, {"swapped": {"wrong": 39}}, "does not hold"),
    ],
)
def test_a_verdict_follows_the_runs(
    claim: int, changes: dict[str, dict[str, object]], verdict: str, tmp_path: Path
) -> None:
    assert verdicts(runs(tmp_path, **changes))[claim] == verdict


def test_nothing_is_concluded_from_nothing(tmp_path: Path) -> None:
    found = check(Evidence([study_record(tmp_path, prompt="generic")]))
    assert {claim.holds for claim in found} == {"not measured"}
    assert len(claims_table(found, "caption").rows) == 8


def test_a_failed_run_is_no_evidence(tmp_path: Path) -> None:
    from dataclasses import replace

    failed = [replace(record, status="FAILED") for record in runs(tmp_path)]
    assert set(verdicts(failed)) == {"not measured"}


def test_a_judgement_by_hand() -> None:
    assert judge(True, True) == "holds"
    assert judge(True, False) == judge(True, None) == "holds only with labels"
    assert judge(False, True) == judge(False, None) == "does not hold"
