"""Planted errors, and how the rankings of the study are scored."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.label_errors import __main__ as study
from experiments.label_errors.planted import SIMILAR, Planted, plant
from experiments.label_errors.rankings import OURS, Flagged, cleaned, precision, reviewed
from tests.conftest import make_blobs

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RESULTS = Path(study.__file__).parent / "results"


def test_errors_of_any_class() -> None:
    labels = np.repeat(np.arange(10), 100)
    planted = plant(labels, NAMES, "any", 0.05, seed=3)
    assert planted.wrong.sum() == 50
    np.testing.assert_array_equal(planted.wrong, planted.labels != labels)
    pairs = {(labels[row], planted.labels[row]) for row in np.flatnonzero(planted.wrong)}
    assert len(pairs) > 30
    again = plant(labels, NAMES, "any", 0.05, seed=3)
    np.testing.assert_array_equal(planted.labels, again.labels)
    assert (planted.labels != plant(labels, NAMES, "any", 0.05, seed=4).labels).any()


def test_errors_of_similar_classes() -> None:
    labels = np.repeat(np.arange(10), 100)
    planted = plant(labels, NAMES, "similar", 0.05, seed=0)
    assert planted.wrong.sum() == 50
    pairs = {(NAMES[labels[row]], NAMES[planted.labels[row]]) for row in np.flatnonzero(planted.wrong)}
    assert pairs == set(SIMILAR.items())


def test_precision_counts_as_many_rows_as_are_wrong() -> None:
    wrong = np.array([True, False, True, False, False])
    assert precision(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), wrong) == 0.5
    assert precision(np.array([0.1, 0.9, 0.2, 0.8, 0.7]), wrong) == 1
    assert precision(np.array([0.9, 0.1, 0.8, 0.2, 0.3]), wrong) == 0
    assert Flagged.of(np.array([True, True, False, False, True]), wrong) == Flagged(3, 1 / 3, 0.5)
    assert Flagged.of(np.zeros(5, bool), wrong) == Flagged(0, 0, 0)


@pytest.mark.slow
def test_both_find_planted_errors() -> None:
    blobs = make_blobs(spread=2.0)
    labels = blobs.train_targets.copy()
    labels[::20] = (labels[::20] + 1) % 3
    planted = Planted(labels, labels != blobs.train_targets)
    ours, flagged, evidence = reviewed(blobs.train, planted, blobs.train_targets, blobs.texts, seed=0)
    theirs, issues = cleaned(blobs.train, planted, evidence, seed=0)
    assert ours[OURS] == theirs["cleanlab, review"] == 1
    assert min(theirs.values()) > 0.8
    assert flagged.precision > 0.8
    assert issues.recall > 0.8
    np.testing.assert_allclose(evidence.sum(axis=1), 1)


def test_tables_are_means_over_seeds(tmp_path: Path) -> None:
    def trial(seed: int, value: float) -> dict[str, object]:
        names = (*study._COLUMNS, "means alone")
        flagged = {
            name: {"number": 10 + seed, "precision": value, "recall": 0.5} for name in (OURS, "cleanlab")
        }
        precisions = dict.fromkeys(names, 0.5) | {OURS: value}
        own = {"setting": "open", "errors": "any", "seed": seed, "images": 5000, "planted": 250}
        return {**own, "precision": precisions, "flagged": flagged}

    study.write_tables([trial(0, 0.8), trial(1, 0.9)], tmp_path)
    with (tmp_path / "precision.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["backbone"], row["images"], row["seeds"]) == ("open", "5,000", "2")
    assert (row[OURS], row["review - tuned"]) == (".850 ± .071", ".350 ± .071")
    with (tmp_path / "flagged.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["planted"], row[f"{OURS}: number"], row["cleanlab: recall"]) == (
        "250",
        "10.5 ± .7",
        ".500 ± .000",
    )


def test_the_tables_follow_from_the_trials(tmp_path: Path) -> None:
    trials = [json.loads(line) for line in (RESULTS / "trials.jsonl").read_text("utf-8").splitlines()]
    assert len({study._trial(one) for one in trials}) == len(trials)
    study.write_tables(trials, tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text("utf-8") == (RESULTS / path.name).read_text("utf-8")
