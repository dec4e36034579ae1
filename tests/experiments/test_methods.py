"""The study of methods: fits that can be resumed, and tables that say what the fits say."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.docs import ROOT
from experiments.methods import leaks, page, safety, thresholds
from experiments.methods.figure import draw
from experiments.methods.fits import read_fits
from experiments.methods.measure import (
    BUDGETS,
    DATASETS,
    Data,
    Task,
    Wanted,
    measure,
    read_lines,
    read_methods,
)
from fused_clip.runner.build import prepare
from fused_clip.runner.notebook import compose_options
from fused_clip.support.conf import conf_dir

ZERO_SHOT = Wanted("zero_shot", "zero-shot", False, ["classifier=zero_shot"])
MEANS = Wanted(
    "cosine_mean", "means", True, ["classifier=shrunk_mean", "classifier.strength=0"], budgets=(2, None)
)
AUTO = Wanted("auto", "auto", True, ["method=auto"], budgets=(2,))


@pytest.mark.parametrize("wanted", read_methods(), ids=lambda one: one.name)
def test_every_method_of_the_study_is_one_of_the_package(wanted: Wanted) -> None:
    free = [] if wanted.labels else ["labels.per_class=0", "pairing=zero_shot", "vote=prompt"]
    compose_options("dataset=cifar10", "tracking=none", *free, *wanted.options)
    assert set(wanted.datasets) <= set(DATASETS)
    assert set(wanted.budgets) <= set(BUDGETS)


def advised() -> list[list[str]]:
    """Overrides of each command in the table of docs/methods.md."""
    text = (ROOT / "docs/methods.md").read_text("utf-8").split("## Labels as a budget")[0]
    spans = [
        span for line in text.splitlines() if line.startswith("| ") for span in re.findall("`([^`]+)`", line)
    ]
    commands = [span.split() for span in spans if span.startswith(("fused-clip", "…"))]
    return [[word for word in command if "=" in word and "=…" not in word] for command in commands]


@pytest.mark.parametrize("overrides", advised(), ids=" ".join)
def test_every_command_of_the_advice_can_run(overrides: list[str]) -> None:
    free = "labels.per_class=0" in overrides
    prepared = prepare(compose_options("dataset=digits", "tracking=none", "reference=[]", *overrides))
    assert not free or not prepared.method.uses_labels(prepared.prompts)


def test_every_classifier_of_the_package_is_in_the_study() -> None:
    """But the default one, which the paper's method in it has."""
    options = " ".join(option for one in read_methods() for option in one.options)
    known = {path.stem for path in conf_dir().glob("classifier/*.yaml")}
    missing = {name for name in known if f"classifier={name}" not in options}
    assert missing == {"constrained_centroid"}


@pytest.mark.slow
def test_fits_are_measured_once_and_go_on_after_an_interruption(tmp_path: Path) -> None:
    def task(*methods: Wanted) -> Task:
        return Task(
            "compact",
            "digits",
            1,
            tmp_path / "fits",
            tmp_path,
            [one._replace(datasets=["digits"]) for one in methods],
        )

    assert measure(task(ZERO_SHOT, MEANS)) == 3
    path = tmp_path / "fits" / "compact" / "digits-1.jsonl"
    before = path.read_text()
    assert measure(task(ZERO_SHOT, MEANS)) == 0
    assert path.read_text() == before

    path.write_text(before[:-20])  # cut off while a line was written
    assert measure(task(ZERO_SHOT, MEANS, AUTO)) == 2
    lines = read_lines(path)
    assert [(line["method"], line["labels"]) for line in lines] == [
        ("zero_shot", 0),
        ("cosine_mean", 2),
        ("cosine_mean", None),
        ("auto", 2),
    ]
    assert [line["hits"] for line in lines[:3]] == [
        line["hits"] for line in map(json.loads, before.splitlines())
    ]
    assert lines[3]["chosen"]
    for line in lines:
        hits = np.unpackbits(np.frombuffer(base64.b64decode(line["hits"]), np.uint8))
        assert abs(hits.sum() / 359 - line["accuracy"]) < 0.01


def write_fits(folder: Path, rates: dict[tuple[str, int | None], float], seeds: int = 5) -> None:
    """Fits on cifar100_1 whose hits have these rates; all methods share how hard an image is."""
    for seed in range(seeds):
        hard = np.random.default_rng(0).random(1000) + 0.05 * np.random.default_rng(seed).random(1000)
        with (folder / f"cifar100_1-{seed}.jsonl").open("w") as file:
            for (method, labels), rate in rates.items():
                packed = base64.b64encode(np.packbits(hard < rate).tobytes()).decode()
                line = {"method": method, "labels": labels, "seconds": 1.0, "chosen": "gda", "hits": packed}
                file.write(json.dumps(line) + "\n")


def test_tables_say_what_the_fits_say(tmp_path: Path) -> None:
    write_fits(tmp_path, {("zero_shot", 0): 0.5, ("cosine_mean", 2): 0.7, ("auto", 2): 0.65})
    fits = read_fits(tmp_path)
    (row,) = page.accuracy_rows(fits, [MEANS], BUDGETS)
    assert row["labels"] == "2"
    assert row["cifar100_1"].startswith(".6")
    assert "±" in row["cifar100_1"]
    (against,) = page.difference_rows(fits, [ZERO_SHOT, MEANS], "zero_shot")
    assert against["cifar100_1"].startswith("+.2")
    assert against["cifar100_1"].endswith("*")
    (regret,) = page.regret_rows(fits, [ZERO_SHOT, MEANS, AUTO])
    assert float(regret["mean regret"]) == pytest.approx(0.05, abs=0.02)
    assert float(regret["least gain on zero-shot"]) == pytest.approx(0.15, abs=0.02)
    assert float(regret["regret to one method"]) == pytest.approx(float(regret["mean regret"]), abs=1e-4)
    assert regret["chosen"] == "gda 5"
    rows = {row["labels"]: row for row in page.best_rows(fits, [ZERO_SHOT, MEANS, AUTO])}
    assert rows["2"]["best three"].startswith("means .6")
    assert rows["0"]["method=auto"] == rows["2"]["the paper's"] == ""
    assert draw(fits, [ZERO_SHOT, MEANS, AUTO], "compact").startswith(b"\x89PNG")


def test_the_extent_counts_draws_and_hours(tmp_path: Path) -> None:
    write_fits(tmp_path, {("zero_shot", 0): 0.5})
    write_fits(tmp_path, {("zero_shot", 0): 0.5, ("cosine_mean", 2): 0.7}, seeds=2)
    (row,) = page.extent_rows({"open": read_fits(tmp_path)})
    assert row["cifar100_1"] == "2 to 5"
    assert row["mnist"] == "0"
    assert (row["fits"], row["hours"]) == ("7", "0.00")


def test_two_seeds_give_no_test(tmp_path: Path) -> None:
    write_fits(tmp_path, {("zero_shot", 0): 0.5, ("cosine_mean", 2): 0.7}, seeds=2)
    assert page.difference_rows(read_fits(tmp_path), [ZERO_SHOT, MEANS], "zero_shot") == []


def test_imbalance_leaves_one_in_fifty_of_the_last_class() -> None:
    labels = np.repeat(np.arange(5), 500)
    drawn = safety.imbalanced(labels, labels, np.random.default_rng(0))
    counts = np.sort(np.bincount(labels[drawn.train]))
    assert counts.tolist() == [10, 27, 71, 188, 500]


def test_batches_have_one_to_four_classes() -> None:
    tested = np.repeat(np.arange(10), 50)
    rows = safety.few_classes(tested, tested, np.random.default_rng(0)).test.reshape(
        safety.BATCHES, safety.BATCH
    )
    kinds = {len(np.unique(tested[batch])) for batch in rows}
    assert kinds == {1, 2, 3, 4}


def test_every_leak_is_measured() -> None:
    from typing import get_args

    from fused_clip.method.leak import Leak

    assert {case.leak for case in leaks.CASES} == set(get_args(Leak))


@pytest.mark.parametrize("condition", thresholds.CONDITIONS)
def test_what_a_rule_is_judged_on_is_not_what_it_sees(condition: str) -> None:
    train = np.arange(1000.0)[:, None]
    data = Data(train, np.arange(1000) % 5, np.full((1, 1), -1.0), np.array([0]))
    draw = thresholds.Draw("open", "cifar10", condition, 0)
    (seen, labels), (judged, truth) = thresholds.parts(data, draw)
    assert not set(seen[:, 0]) & set(judged[:, 0])
    assert -1 not in np.concatenate([seen, judged]), "test images take no part"
    for rows, kinds in ((seen, labels), (judged, truth)):
        np.testing.assert_array_equal(rows[:, 0] % 5, kinds)
        counts = np.bincount(kinds)
        assert (counts.max() / counts.min() > 20) == (condition == "1:50")


def test_rules_are_judged_by_what_they_choose() -> None:
    hits = {"zero_shot": [1] * 50 + [0] * 50, "clap": [1] * 70 + [0] * 30}
    accuracy = {"zero_shot": 0.5, "clap": 0.7, "best_in_hindsight": 0.75}
    held_out = {**hits, "best_in_hindsight": hits["zero_shot"]}
    one = {"accuracy": accuracy, "held_out": held_out, "right": None, "answers": {}, "coherence": 0}
    draw = thresholds.Draw("open", "cifar10", "alike", 0)
    rows = thresholds.rows_of({draw: {str(budget): one for budget in thresholds.BUDGETS}})
    cells = {row["rule"]: row["4"] for row in rows if row["backbone"] == "open" and row["classes"] == "alike"}
    assert cells["as it is"] == cells["the second, always"] == "0.050 (+0.200)"
    assert cells["the first, always"] == "0.250 (+0.000)"
