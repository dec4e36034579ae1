"""Each claim on runs made up so that it holds, holds only with labels, or does not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fused_clip.report.studies.claims import check, claims_table, everywhere, judge
from fused_clip.report.studies.measurements import Measurements
from fused_clip.report.studies.pairs import Answer
from fused_clip.tracking.records import RunRecord
from tests.study_records import study_record

SEEDS = (42, 43, 44)
DATASETS = ("mnist", "cifar10")
WITH_LABELS = "supported only with labels"


def runs(
    folder: Path, seeds: Sequence[int] = SEEDS, spread: float = 0.001, **changes: dict[str, object]
) -> list[RunRecord]:
    """All that the claims ask for, on two datasets; as many rows wrong as `changes` say of a strategy.

    Here the text helps whenever labels choose it, and not otherwise. ARI with text has some spread.
    """
    blind: dict[str, object] = {"pairing": "zero_shot", "followed": 1.0}
    arms: dict[str, dict[str, object]] = {
        "task": {"prompt": "task", "wrong": 40, "ari": 0.7, "followed": 1.0},
        "none": {"prompt": "none", "wrong": 100, "ari": 0.5},
        "swapped": {"prompt": "swapped", "wrong": 40, "followed": 1.0},
        "generic": {"prompt": "generic", "wrong": 100},
        "hierarchical": {"prompt": "hierarchical", "wrong": 70, "followed": 1.0},
        "grouped": {"prompt": "grouped", "wrong": 20, "followed": 1.0},
        "one": {"prompt": "task", "wrong": 60, "clusters_per_target": "1", "followed": 1.0},
        "blind": {**blind, "prompt": "task", "wrong": 100, "ari": 0.45, "followed": 0.9},
        "blind_groups": {**blind, "prompt": "grouped", "wrong": 80},
        "blind_one": {**blind, "prompt": "task", "wrong": 130, "clusters_per_target": "1"},
        "blind_hierarchical": {**blind, "prompt": "hierarchical", "wrong": 130},
    }
    made = []
    for dataset in DATASETS:
        for name, arm in arms.items():
            own = {**arm, **changes.get(name, {})}
            metrics = {"train/ari": own.pop("ari", 0.5), "missing_targets": own.pop("missing", 0.0)}
            if "followed" in own:
                metrics["train/prompt_purity"] = own.pop("followed")
            for seed in seeds:
                shaken = dict(metrics)
                if own["prompt"] != "none" and spread:
                    shaken["train/ari"] = float(str(metrics["train/ari"])) + spread * (seed % 2)
                references = {"zero_shot": 35, "image_only": 80}
                if own["prompt"] == "grouped":
                    references["zero_shot_via_class"] = 10
                made.append(
                    study_record(folder, dataset, seed=seed, references=references, metrics=shaken, **own)  # type: ignore[arg-type]
                )
    return made


def verdicts(records: Sequence[RunRecord]) -> list[str]:
    return [claim.verdict for claim in check(Measurements(records))]


def test_each_claim_has_its_verdict(tmp_path: Path) -> None:
    claims = {claim.name: claim for claim in check(Measurements(runs(tmp_path)))}
    assert {name: claim.verdict for name, claim in claims.items()} == {
        "Task prompts beat image only in ARI": WITH_LABELS,
        "Task prompts beat image only in accuracy": WITH_LABELS,
        "Swapped prompts do as well as task prompts": WITH_LABELS,
        "Grouped prompts serve binary tasks": WITH_LABELS,
        "Two clusters a target beat one": "supported",
        "No target goes missing": "supported",
        "The text dominates the structure": WITH_LABELS,
        "Task prompts are consistently best": "not shown",
    }
    accuracy = claims["Task prompts beat image only in accuracy"]
    assert accuracy.evidence == (
        "Against image only: +.1500; better in 2, worse in 0, equal within ±.0100 in 0 of 2 datasets."
        " With prompts paired by zero-shot: .0000; better in 0, worse in 0, equal within ±.0250 in 2 of 2"
        " datasets."
    )
    assert accuracy.corrected == (
        "Better in 2, worse in 0, equal within ±.0100 in 0 of 2 datasets. Paired by zero-shot: "
        "better in 0, worse in 0, equal within ±.0250 in 2 of 2 datasets."
    )
    grouped = claims["Grouped prompts serve binary tasks"]
    assert "Against zero-shot: +.0375; better in 2," in grouped.evidence
    assert "Against zero-shot: better in 2," in grouped.corrected
    assert "Against zero-shot via class: -.0250; better in 0, worse in 2," in grouped.evidence
    assert "Against zero-shot via class: better in 0, worse in 0," in grouped.corrected
    assert "Task against swapped: better in 0, worse in 0, equal within ±.0100 in 0 of 2 datasets." in (
        claims["Task prompts are consistently best"].corrected
    )
    assert claims["Task prompts are consistently best"].evidence == (
        "The highest mean of 5 strategies in 0 of 2 datasets, ahead of zero-shot classification in 0. In the "
        "published table: of three in 4 of 7. With prompts paired by zero-shot: of 4 in 0 of 2."
    )
    missing = claims["No target goes missing"].evidence
    assert missing.endswith("In the published table: class 96 of CIFAR-100 s5, under task.")


def test_no_pair_of_arms_is_compared_twice(tmp_path: Path) -> None:
    """Each row of the table of differences is a test of its own."""
    found = [one for some in Measurements(runs(tmp_path)).comparisons.values() for one in some]
    assert len({(one.dataset, one.first, one.second) for one in found}) == len(found) > 0


@pytest.mark.slow
def test_every_verdict_names_the_runs_behind_it(tmp_path: Path) -> None:
    records = runs(tmp_path)
    known = {record.run_id for record in records}
    for claim in check(Measurements(records)):
        assert claim.run_ids, claim.name
        assert set(claim.run_ids) <= known
        assert len(set(claim.run_ids)) == len(claim.run_ids)


BEST = {"swapped": {"wrong": 80}}  # so that no other strategy is level with task


@pytest.mark.slow
@pytest.mark.parametrize(
    ("claim", "changes", "verdict"),
    [
        (0, {"blind": {"ari": 0.6}}, "supported"),
        (0, {"task": {"ari": 0.45}}, "refuted"),
        (0, {"task": {"ari": 0.5}}, "not shown"),
        (1, {"blind": {"wrong": 50}}, "supported"),
        (1, {"blind": {"wrong": 95}}, "supported with labels, not shown without"),
        (1, {"task": {"wrong": 95}}, "not shown"),
        (1, {"task": {"wrong": 99}}, "refuted"),
        (1, {"task": {"wrong": 150}}, "refuted"),
        (2, {"swapped": {"wrong": 44}}, "not shown"),
        (2, {"swapped": {"wrong": 55}}, "refuted"),
        (3, {"blind_groups": {"wrong": 20}}, "supported"),
        (3, {"grouped": {"wrong": 76}}, "not shown"),
        (4, {"one": {"wrong": 41}}, "not shown"),
        (4, {"one": {"wrong": 10}}, "refuted"),
        (4, {"blind_one": {"wrong": 101}}, "supported only with labels"),
        (5, {"blind": {"missing": 1.0}}, "supported only with labels"),
        (5, {"swapped": {"missing": 1.0}}, "refuted"),
        (6, {"blind": {"followed": 0.99}}, "supported"),
        (6, {"grouped": {"followed": 0.9}}, "refuted"),
        (7, {**BEST, "blind": {"wrong": 50}}, "supported"),
        (7, BEST, "supported only with labels"),
        (7, {**BEST, "hierarchical": {"wrong": 44}}, "not shown"),
        (7, {"swapped": {"wrong": 10}}, "refuted"),
    ],
)
def test_a_verdict_follows_the_runs(
    claim: int, changes: dict[str, dict[str, object]], verdict: str, tmp_path: Path
) -> None:
    assert verdicts(runs(tmp_path, **changes))[claim] == verdict


def test_without_the_further_cells_nothing_is_said_of_prompts_paired_without_labels(tmp_path: Path) -> None:
    table = [
        record
        for record in runs(tmp_path, **BEST)
        if "pairing" not in record.params and "clusters_per_target" not in record.params
    ]
    half = "supported with labels, not measured without"
    found = check(Measurements(table))
    assert [claim.verdict for claim in found] == [
        half, half, "refuted", half, "not measured", half, half, half
    ]  # fmt: skip
    assert all("by zero-shot" in claim.evidence for claim in found if claim.verdict == half)


@pytest.mark.parametrize("seeds", [[42], [42, 43]])
def test_one_seed_or_two_show_no_difference(seeds: Sequence[int], tmp_path: Path) -> None:
    found = verdicts(runs(tmp_path, seeds, **BEST))
    assert [found[place] for place in (0, 1, 2, 3, 4, 7)] == ["not shown"] * 6


@pytest.mark.parametrize("ari", [0.7, 0.3])
def test_seeds_that_agree_exactly_are_no_test_of_ari(ari: float, tmp_path: Path) -> None:
    (claim, *_) = check(Measurements(runs(tmp_path, spread=0, task={"ari": ari})))
    assert claim.verdict == "not shown"
    assert "better in 0, worse in 0 of 2 datasets" in claim.evidence


def test_nothing_is_concluded_from_nothing(tmp_path: Path) -> None:
    found = check(Measurements([study_record(tmp_path, prompt="generic")]))
    assert {claim.verdict for claim in found} == {"not measured"}
    assert len(claims_table(found, "caption").rows) == 8


def test_a_failed_run_is_no_evidence(tmp_path: Path) -> None:
    failed = [replace(record, status="FAILED") for record in runs(tmp_path)]
    assert set(verdicts(failed)) == {"not measured"}


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["one seed", "one dataset"])
def test_a_hole_leaves_a_claim_unmeasured_unless_the_rest_refutes_it(lost: str, tmp_path: Path) -> None:
    records = runs(tmp_path, **BEST, blind={"wrong": 50, "ari": 0.6, "followed": 1.0})
    assert "not measured" not in verdicts(records)
    holes = [
        replace(record, status="MISSING", run_id="", metrics={})
        if record.option("dataset") == "cifar10" and (lost == "one dataset" or record.option("seed") == "43")
        else record
        for record in records
    ]
    found = check(Measurements(holes))
    refuted = [claim.name for claim in found if claim.verdict != "not measured"]
    assert refuted == ["Swapped prompts do as well as task prompts"]
    assert found[2].verdict == "refuted"
    assert found[1].evidence.startswith("Against image only: +.1500;")
    assert "of 2 datasets (1 not measured in full)" in found[1].evidence


def test_mixed_code_is_marked(tmp_path: Path) -> None:
    first, *others = runs(tmp_path)
    mixed = [
        replace(first, tags={"commit": "old"}),
        *(replace(one, tags={"commit": "new"}) for one in others),
    ]
    table = claims_table(check(Measurements(mixed)), "caption")
    assert [row[1].flag for row in table.rows[:2]] == ["mixed commits"] * 2


def test_a_judgement_by_hand() -> None:
    assert judge("yes", "yes") == "supported"
    assert judge("yes", "no") == judge("yes", None) == WITH_LABELS
    assert judge("yes", "open") == "supported with labels, not shown without"
    assert judge("yes", "not measured") == "supported with labels, not measured without"
    assert judge("no", "yes") == judge("no", None) == "refuted"
    assert judge("open", "yes") == "not shown"
    assert judge("not measured", "yes") == "not measured"


@pytest.mark.parametrize(
    ("answers", "datasets", "answer"),
    [
        (["yes", "yes"], 2, "yes"),
        (["yes"], 2, "not measured"),
        ([], 0, "not measured"),
        (["yes", "open"], 2, "open"),
        (["open", "not measured"], 2, "not measured"),
        (["no", "not measured"], 2, "no"),
    ],
)
def test_what_holds_everywhere_by_hand(answers: list[Answer], datasets: int, answer: Answer) -> None:
    assert everywhere(answers, datasets) == answer
