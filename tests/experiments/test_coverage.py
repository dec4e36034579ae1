"""The study of coverage: its tolerances are exact, and it sees the bugs that it is there for."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from experiments.coverage import resplits
from experiments.coverage.__main__ import FAR, table
from experiments.coverage.resplits import Coverage, Draws, Split, resplit, summary
from experiments.guarantees.sets import Pool
from fused_clip.guarantee.conformal import Per, prediction_sets
from fused_clip.method.classifier import KNeighbors, StatA
from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import BoolArray, DoubleArray, IntArray
from tests.conftest import Blobs, make_blobs
from tests.guarantee.test_promise import NAMES, SPREAD, model_of


@pytest.fixture(scope="module")
def data() -> Blobs:
    """Blobs that overlap, so that sets have several answers; the test rows in random order."""
    found = make_blobs(3, 60, 400, SPREAD)
    order = np.random.default_rng(0).permutation(len(found.test))
    return replace(found, test=found.test[order], test_targets=found.test_targets[order])


def pool_of(data: Blobs) -> Pool:
    return Pool(data.test, data.test_targets.astype(np.int64), NAMES)


def made(data: Blobs, **params: Any) -> SavedModel:
    return model_of(data, calibration=0, **params)


@pytest.mark.parametrize("coverage", [0.5, 0.8])
def test_mean_and_variance_are_those_over_all_draws(coverage: float) -> None:
    """All ways of drawing 4 calibration images out of 8 scores that differ."""
    shares, expected = [], set()
    for known in combinations(range(8), 4):
        new = [score for score in range(8) if score not in known]
        threshold = sorted(known)[int(np.ceil(5 * coverage)) - 1]
        found = Coverage.of(np.array([score <= threshold for score in new]), 4, coverage)
        shares.append(found.hits / found.images)
        expected.add((found.expected, found.variance))
    assert len(expected) == 1
    mean, variance = expected.pop()
    assert mean == pytest.approx(np.mean(shares))
    assert variance == pytest.approx(np.var(shares))


def test_fewer_calibration_images_than_a_level_needs_rule_nothing_out() -> None:
    assert Coverage.of(np.ones(5, dtype=bool), 8, 0.9)[2:] == (1.0, 0.0)


@pytest.mark.parametrize("per", ["all", "target"])
@pytest.mark.parametrize("classifier", [None, StatA()], ids=lambda one: type(one).__name__)
def test_the_coverage_of_a_model_is_within_its_tolerance(classifier: Any, per: Per, data: Blobs) -> None:
    splits = resplit(made(data, classifier=classifier), pool_of(data), 0.8, per, Draws(60, 200, 400, 0))
    found = summary(splits, 0.8, per)
    assert abs(found["z"]) < FAR
    assert 0.79 < found["coverage"] < 0.83
    assert 0.5 < found["size"] < 2.9
    assert found["worst_target"] < found["coverage"] + 0.005


def test_calibration_on_training_rows_is_seen(data: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearest neighbours are sure of the rows that they keep."""
    model, trained = made(data, classifier=KNeighbors(1)), len(data.train)
    both = Pool(
        np.concatenate([data.train, data.test]),
        np.concatenate([data.train_targets, data.test_targets]).astype(np.int64),
        NAMES,
    )

    def positions(drawn: Draws, pool: int) -> Iterator[tuple[IntArray, IntArray]]:
        rng = np.random.default_rng(drawn.seed)
        for _ in range(drawn.count):
            new = trained + rng.permutation(pool - trained)[: drawn.new]
            yield rng.permutation(trained)[: drawn.calibration], new

    monkeypatch.setattr(Draws, "positions", positions)
    found = summary(resplit(model, both, 0.8, "all", Draws(20, 100, 300, 0)), 0.8, "all")
    assert found["z"] < -FAR
    (row,) = table([line(found)])
    assert row["within"] == "no"


@pytest.mark.parametrize("off", [-1, 1])
def test_a_threshold_that_is_off_by_one_is_seen_at_few_images(off: int, data: Blobs) -> None:
    """With 19 calibration images one more or less is worth .05."""
    rng, splits = np.random.default_rng(0), []
    for _ in range(100):
        known, new = np.sort(rng.random(19)), rng.random(200)
        sets = (new <= known[int(np.ceil(20 * 0.9)) - 1 + off])[:, None]
        splits.append(Split(sets, np.zeros(200, int), np.zeros(19, int)))
    assert summary(splits, 0.9, "all")["z"] * off > FAR


def test_the_study_makes_the_sets_of_the_package(data: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def others(known: DoubleArray, truth: IntArray, scores: DoubleArray, level: float, per: Per) -> BoolArray:
        return ~prediction_sets(known, truth, scores, level, per)

    monkeypatch.setattr(resplits, "prediction_sets", others)
    with pytest.raises(RuntimeError, match="gives other sets"):
        resplit(made(data), pool_of(data), 0.8, "all", Draws(1, 200, 100, 0))


def line(found: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {"dataset": "blobs", "backbone": "none", "classifier": "knn", "per": "all", "level": 0.8}
    return {**own, **found, **more}


def test_the_table_says_what_was_promised_and_found(data: Blobs) -> None:
    found = summary(resplit(made(data), pool_of(data), 0.8, "all", Draws(10, 200, 100, 0)), 0.8, "all")
    one, other = table([line(found, z=FAR), line(found, z=-FAR - 0.01, per="target")])
    assert (one["coverage"], one["within"]) == ("0.8", "yes")
    assert (other["coverage"], other["within"]) == ("0.8 per target", "no")
    assert one["calibration"] == "200"
    assert float(one["empty"]) + float(one["single"]) <= 1
