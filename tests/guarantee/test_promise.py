"""What a model promises: sets, calls of unknown, and a test, under constraints and batches."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fused_clip.guarantee import Guarantee
from fused_clip.method.classifier import StatA, ZeroShot
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.model.facts import ModelFacts, TrainingFacts
from fused_clip.model.head import Head
from fused_clip.model.saved import SavedModel
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError
from tests.conftest import Blobs, make_blobs
from tests.model.conftest import fitted, prompts_of

NAMES = ("cat", "dog", "truck")
SPREAD = 3.5  # blobs overlap, so that sets have several answers


def blobs(n_test: int = 400) -> Blobs:
    return make_blobs(3, 60, n_test, SPREAD)


def model_of(data: Blobs, calibration: int = 200, *, labelled: bool = True, **params: Any) -> SavedModel:
    """A model of the blobs whose calibration rows are the first of the test rows."""
    head = Head.of(fitted(data, **params), prompts_of())
    rows, targets = data.test[:calibration], data.test_targets[:calibration].astype(np.int64)
    known = targets if labelled else np.full_like(targets, -1)
    held_out = CalibrationRows(rows, known, data.train, data.train_targets.astype(np.int64))
    training = TrainingFacts(dataset="toy", fingerprint="f" * 64, rows=180, uses_labels=True)
    facts = ModelFacts.model_construct(training=training)
    return SavedModel(head, None, facts, "c", held_out if calibration else None)


@pytest.fixture(scope="module")
def data() -> Blobs:
    found = blobs()
    order = np.random.default_rng(0).permutation(len(found.test))
    return replace(found, test=found.test[order], test_targets=found.test_targets[order])


@pytest.fixture(scope="module")
def model(data: Blobs) -> SavedModel:
    return model_of(data)


def coverage(model: SavedModel, data: Blobs, level: float, per: Any = "all") -> tuple[float, float]:
    """Mean coverage and mean size of the sets over splits of the test rows into calibration and new ones."""
    hits, sizes = [], []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(len(data.test))
        known, new = order[:300], order[300:]
        truth = data.test_targets.astype(np.int64)
        held_out = CalibrationRows(data.test[known], truth[known], data.train, truth[:180])
        own = replace(model, calibration=held_out)
        sets = Guarantee.of(own, level, per).answer(data.test[new]).sets
        assert sets is not None
        hits.append(sets[np.arange(len(new)), truth[new]].mean())
        sizes.append(sets.sum(axis=1).mean())
    return float(np.mean(hits)), float(np.mean(sizes))


@pytest.mark.slow
@pytest.mark.parametrize("per", ["all", "target"])
@pytest.mark.parametrize("classifier", [None, ZeroShot(), StatA()], ids=lambda one: type(one).__name__)
def test_sets_have_their_coverage(classifier: Any, per: str, data: Blobs) -> None:
    """Also where answers depend on the batch. A deviation of .01 is 3 standard errors of the mean."""
    own = model_of(data, classifier=classifier)
    found, size = coverage(own, data, 0.8, per)
    assert found == pytest.approx(0.803, abs=0.012)
    assert 0.7 < size < 2.9


def test_rows_of_training_would_promise_too_much(data: Blobs) -> None:
    """The planted bug that calibration rows exist against: on rows that the model was made from."""
    own = model_of(data)
    truth = data.train_targets.astype(np.int64)
    trained = CalibrationRows(data.train, truth, data.train, truth)
    sets = Guarantee.of(replace(own, calibration=trained), 0.8).answer(data.test).sets
    assert sets is not None
    assert sets[np.arange(len(data.test)), data.test_targets].mean() < 0.78


def test_a_higher_coverage_has_larger_sets_and_each_has_the_smaller_one(
    model: SavedModel, data: Blobs
) -> None:
    sets = [Guarantee.of(model, level).answer(data.test).sets for level in (0.5, 0.8, 0.95)]
    for smaller, larger in pairwise(sets):
        assert smaller is not None
        assert larger is not None
        assert (larger | ~smaller).all()
        assert larger.sum() > smaller.sum()


def test_few_known_images_are_unknown_and_most_others_are(model: SavedModel, data: Blobs) -> None:
    guarantee = Guarantee.of(model, unknown=0.1)
    known, other = guarantee.answer(data.test[200:]), guarantee.answer(data.test[200:] + 20)
    assert known.unknown is not None
    assert other.unknown is not None
    assert known.sets is None
    assert 0.02 < known.unknown.mean() < 0.17
    assert other.unknown.mean() > 0.9


def test_records_have_what_was_asked_for(model: SavedModel, data: Blobs) -> None:
    answered = Guarantee.of(model, 0.9, "target", 0.1).answer(data.test[200:205])
    assert answered.sets is not None
    plain = list(answered.predictions.records())
    for row, record in enumerate(answered.records()):
        own = [name for name, there in zip(NAMES, answered.sets[row], strict=True) if there]
        assert record == {
            **plain[row],
            "set": own,
            "set_size": len(own),
            "unknown": bool(answered.unknown[row] if answered.unknown is not None else None),
        }
    only = next(Guarantee.of(model, unknown=0.1).answer(data.test[200:205]).records())
    assert "set" not in only


def test_a_constraint_narrows_sets_and_calibration(model: SavedModel, data: Blobs) -> None:
    narrowed = model.constrain(targets=["cat", "truck"])
    guarantee = Guarantee.of(narrowed, 0.8)
    assert set(guarantee.calibration.targets) == {0, 2}
    of_two = data.test_targets != 1
    sets = guarantee.answer(data.test[of_two]).sets
    assert sets is not None
    assert sets.shape[1] == 2
    truth = (data.test_targets[of_two] == 2).astype(int)
    assert sets[np.arange(len(truth)), truth].mean() == pytest.approx(0.8, abs=0.08)


def test_groups_are_covered_as_answers(model: SavedModel, data: Blobs) -> None:
    grouped = model.constrain(target_map={"pet": ["cat", "dog"]})
    sets = Guarantee.of(grouped, 0.8, "target").answer(data.test[200:]).sets
    assert sets is not None
    truth = (data.test_targets[200:] == 2).astype(int)
    assert sets[np.arange(len(truth)), truth].mean() > 0.7


def test_under_a_prior_calibration_images_have_its_frequencies(model: SavedModel, data: Blobs) -> None:
    prior = {"cat": 0.7, "dog": 0.2, "truck": 0.1}
    guarantee = Guarantee.of(model.constrain(prior=prior), 0.8, "target")
    rng = np.random.default_rng(1)

    def some(shares: dict[str, float]) -> IntArray:
        counts = [round(100 * share) for share in shares.values()]
        own = [np.flatnonzero(data.test_targets == target) for target in range(3)]
        return np.concatenate([rng.choice(rows, n) for rows, n in zip(own, counts, strict=True)])

    assert not guarantee.test_shift(data.test[some(prior)]).withdrawn
    assert guarantee.test_shift(data.test[some({"cat": 0.05, "dog": 0.15, "truck": 0.8})]).withdrawn


def test_other_images_withdraw_it(model: SavedModel, data: Blobs) -> None:
    guarantee = Guarantee.of(model, 0.8)
    assert guarantee.stated(guarantee.test_shift(data.test[200:])) == "0.8"
    assert guarantee.stated(guarantee.test_shift(data.test[200:] + 2)) == "withdrawn"
    assert Guarantee.of(model, 0.8, "target").stated(None) == "0.8 per target, untested for shift"


def test_a_transductive_model_answers_calibration_and_new_images_together(data: Blobs) -> None:
    own = model_of(data, classifier=StatA())
    new = data.test[200:260]
    answered = Guarantee.of(own, 0.8).answer(new)
    together = own.predict_embeddings(np.concatenate([data.test[:200], new]))
    np.testing.assert_array_equal(answered.predictions.answers, together.answers[200:])
    alone = Guarantee.of(own, unknown=0.1).answer(new).predictions
    np.testing.assert_array_equal(alone.answers, own.predict_embeddings(new).answers)
    with pytest.raises(InputError, match=r"^images: must be two or more"):
        Guarantee.of(own, 0.8).answer(new[:1])


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, np.nan, np.inf])
@pytest.mark.parametrize("option", ["coverage", "unknown"])
def test_a_level_is_between_0_and_1(option: str, level: float, model: SavedModel) -> None:
    with pytest.raises(InputError, match=rf"^{option}: must be above 0 and below 1, got"):
        Guarantee.of(model, **{option: level})  # type: ignore[arg-type]


def test_what_can_not_be_promised_is_refused(model: SavedModel, data: Blobs) -> None:
    for bare, words in (
        (Guarantee.of, {"coverage": 0.9}),
        (Guarantee.of, {"unknown": 0.1}),
    ):
        with pytest.raises(InputError, match=r"has none\. Run again with calibration\.share=\.2"):
            bare(model_of(data, 0), **words)  # type: ignore[arg-type]
    unlabelled = model_of(data, labelled=False)
    with pytest.raises(InputError, match=r"^coverage: needs calibration images with labels"):
        Guarantee.of(unlabelled, 0.9)
    assert Guarantee.of(unlabelled, unknown=0.1).answer(data.test).unknown is not None
    with pytest.raises(InputError, match=r"^coverage: needs two or more possible answers.* got 'dog'"):
        Guarantee.of(model.constrain(targets=["dog"]), 0.9)
    with pytest.raises(InputError, match=r"under a prior.*--coverage-per target"):
        Guarantee.of(model.constrain(prior={"cat": 0.5, "dog": 0.3, "truck": 0.2}), 0.9)
    with pytest.raises(InputError, match=r"^coverage: needs at least 999 calibration images .* has 200\."):
        Guarantee.of(model, 0.999)
    with pytest.raises(InputError, match=r"at least 99 calibration images of 'cat' .* has \d\d\."):
        Guarantee.of(model, 0.99, "target")
    with pytest.raises(InputError, match=r"^unknown: needs at least 999 calibration images"):
        Guarantee.of(model, unknown=0.001)


def test_without_probabilities_the_gap_to_the_best_score_makes_sets(data: Blobs) -> None:
    own = model_of(data, calibrate=False)
    assert not own.calibrated
    found, size = coverage(own, data, 0.8)
    assert found == pytest.approx(0.803, abs=0.02)
    assert size < 2.9


def test_no_images_have_no_sets(model: SavedModel, data: Blobs) -> None:
    answered = Guarantee.of(model, 0.8, unknown=0.1).answer(data.test[:0])
    assert answered.sets is not None
    assert answered.sets.shape == (0, 3)
    assert list(answered.records()) == []
