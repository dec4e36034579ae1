"""References that are fitted on samples of many rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fused_clip.audit.evidence import Run
from fused_clip.audit.references import Audit, audit
from fused_clip.audit.samples import SAMPLING, Sampling, sampled_runs
from fused_clip.method import prompt
from fused_clip.method.budget import LabelBudget
from fused_clip.runner.build import make_references
from fused_clip.support.many_rows import EXACT_ROWS
from tests.audit.test_references import dataset_of, options, run_of
from tests.conftest import Blobs

FEW = Sampling(exact_rows=1000, rows=200, count=5)
FITTED = ("image_only", "linear_probe", "nearest_class_mean", "rotated_text")


def overlapping(seed: int, n_train: int = 2400, n_test: int = 800, spread: float = 3.0) -> Blobs:
    """Four classes that overlap, as other data of the same kind for each seed."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(7).normal(size=(4, 8)) * 2

    def draw(count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        targets = np.sort(rng.integers(0, 4, count))
        return (means[targets] + spread * rng.normal(size=(count, 8))).astype(np.float32), targets

    (train, train_targets), (test, test_targets) = draw(n_train), draw(n_test)
    texts = (means + rng.normal(size=means.shape)).astype(np.float32)
    return Blobs(train, test, train_targets, test_targets, texts)


def audited(blobs: Blobs, run: Run, sampling: Sampling, draws: int = 1) -> Audit:
    return audit(run, make_references(options(), dataset_of(blobs)), draws=draws, sampling=sampling)


def test_samples_are_of_no_more_rows_than_are_computed_exactly() -> None:
    assert SAMPLING.rows * SAMPLING.count == SAMPLING.exact_rows == EXACT_ROWS


def test_up_to_a_number_of_rows_all_are_used() -> None:
    blobs = overlapping(0, n_train=1000)
    scores, _, tags = audited(blobs, run_of(blobs), FEW)
    assert not [name for name in scores if name.endswith(("_low", "_high"))]
    assert "references_sampled" not in tags


def test_references_that_are_fitted_have_intervals_and_the_others_are_exact() -> None:
    blobs = overlapping(0)
    run = run_of(blobs)
    scores, guesses, tags = audited(blobs, run, FEW)
    exact, exact_guesses, _ = audited(blobs, run, Sampling(exact_rows=10**6))
    assert tags["references_sampled"] == f"{', '.join(FITTED)}: 5 samples of 200 training rows"
    assert set(guesses) == set(exact_guesses)
    bounded = {name.removesuffix("_low") for name in scores if name.endswith("_low")}
    assert {f"reference/{name}_accuracy" for name in FITTED} < bounded
    assert {"words_in_fusion", "text_in_all", "test/sampled_accuracy"} < bounded
    for name in bounded:
        assert scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"]
    for name in ("nearest_cluster_mean", "zero_shot"):
        assert scores[f"reference/{name}_accuracy"] == exact[f"reference/{name}_accuracy"]
        np.testing.assert_array_equal(guesses[name], exact_guesses[name])


def test_what_text_contributes_compares_fits_on_the_same_rows() -> None:
    blobs = overlapping(1)
    run = run_of(blobs)
    scores, _, _ = audited(blobs, run, FEW)
    own = [one.model.score(blobs.test, blobs.test_targets) for one in sampled_runs(run, FEW)]
    assert scores["test/sampled_accuracy"] == pytest.approx(np.mean(own))
    rotated = scores["reference/rotated_text_accuracy"]
    assert scores["words_in_fusion"] == pytest.approx(np.mean(own) - rotated)


def test_a_sampled_run_is_the_method_on_its_rows() -> None:
    blobs = overlapping(2)
    run = run_of(blobs)
    for one in sampled_runs(run, FEW):
        assert len(one.train) == len(one.train_labels) == len(one.known_labels) == 200
        assert run.model.prompt_index_ is not None
        np.testing.assert_array_equal(one.model.prompt_index_, one.train_labels)
        np.testing.assert_array_equal(one.predicted, one.model.predict(blobs.test))
        inputs = one.text_inputs(blobs.texts, run.prompts, one.known_labels)
        assert inputs.images is one.train


def test_a_run_without_text_is_sampled_too() -> None:
    blobs = overlapping(3)
    scores, _, _ = audited(blobs, run_of(blobs, prompt.none), FEW)
    assert "reference/linear_probe_accuracy_low" in scores
    assert "words_in_fusion" not in scores


def test_few_labels_are_all_in_every_sample_and_a_probe_of_them_is_exact() -> None:
    blobs = overlapping(4)
    run = run_of(blobs, labels=LabelBudget(per_class=3))
    scores, _, tags = audited(blobs, run, FEW)
    assert "linear_probe" not in tags["references_sampled"]
    assert "reference/linear_probe_accuracy_low" not in scores
    for one in sampled_runs(run, FEW):
        assert (one.known_labels >= 0).sum() == 12


def test_draws_of_a_random_reference_are_spread_over_the_samples() -> None:
    blobs = overlapping(5)
    run = run_of(blobs)
    once, often = (audited(blobs, run, FEW, draws=draws).metrics for draws in (1, 5))
    name = "reference/rotated_text_accuracy"
    assert once[name] != often[name]
    assert once["reference/image_only_accuracy"] == often["reference/image_only_accuracy"]


@pytest.mark.slow
def test_intervals_hold_what_all_rows_give_as_often_as_they_say() -> None:
    held, count = {f"reference/{name}_accuracy": 0 for name in FITTED}, 40
    for seed in range(count):
        blobs = overlapping(seed, n_train=4000)
        run = run_of(blobs)
        references = make_references(options(), dataset_of(blobs))
        exact, sampled = (
            audit(run, references, draws=1, sampling=one).metrics
            for one in (Sampling(exact_rows=10**6), Sampling(exact_rows=1000, rows=800, count=5))
        )
        for name in held:
            held[name] += sampled[f"{name}_low"] <= exact[name] <= sampled[f"{name}_high"]
    for name, hits in held.items():
        assert hits / count >= 0.84, name  # 95 %, and three standard errors below it
