"""Out-of-fold scores: a training row has no part in what is said of it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.method.classifier import (
    Classifier,
    ConstrainedCentroid,
    LinearProbe,
    NearestClassMean,
    NearestClusterMean,
    Training,
    ZeroShot,
    calibration_sample,
    out_of_fold_scores,
)
from fused_clip.method.classifier.centroids import nearest_of_each
from fused_clip.metrics.calibration import fit_temperature
from tests.conftest import Blobs, make_blobs

CLASSIFIERS: list[Classifier] = [
    ConstrainedCentroid(),
    NearestClusterMean(),
    NearestClassMean(),
    LinearProbe(),
    ZeroShot(),
]


def training_of(blobs: Blobs) -> Training:
    """Two clusters a class."""
    targets = blobs.train_targets
    count = len(blobs.texts)
    fused = (blobs.train + blobs.texts[targets]) / 2
    clusters = 2 * targets + np.arange(len(targets)) % 2
    owners, index = np.repeat(np.arange(count), 2), np.arange(count)
    return Training(blobs.train, count, fused, clusters, owners, blobs.texts, index, targets)


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda one: type(one).__name__)
def test_a_held_out_row_has_no_part_in_its_scores(blobs: Blobs, classifier: Classifier) -> None:
    training = training_of(blobs)
    scores = out_of_fold_scores(classifier, training)
    moved = 17
    fused, images = np.array(training.fused), training.images.copy()
    fused[moved] += 100
    images[moved] += 100
    changed = dataclasses.replace(training, fused=fused, images=images)
    shifted = out_of_fold_scores(classifier, changed)
    same = (shifted == scores).all(axis=1)
    others = np.flatnonzero(~same)
    seen = not isinstance(classifier, ZeroShot)  # which trains on no image
    assert (len(others) > 1) == seen, "rows of other folds see it"
    fold = dataclasses.replace(training, targets=np.roll(training.targets, 1))
    if not classifier.uses_labels:
        np.testing.assert_array_equal(out_of_fold_scores(classifier, fold), scores)
    assert scores.shape == (120, 3)
    assert (scores.argmax(axis=1) == blobs.train_targets).mean() > 0.9


def test_the_label_of_a_held_out_row_has_no_part_in_its_scores(blobs: Blobs) -> None:
    training = training_of(blobs)
    moved = 17
    targets = np.array(training.targets)
    targets[moved] = (targets[moved] + 1) % 3
    for classifier in (NearestClassMean(), LinearProbe()):
        before = out_of_fold_scores(classifier, training)
        after = out_of_fold_scores(classifier, dataclasses.replace(training, targets=targets))
        np.testing.assert_array_equal(before[moved], after[moved])
        assert (before != after).any()


def test_a_row_is_further_from_a_mean_that_it_has_no_part_in(blobs: Blobs) -> None:
    training = training_of(blobs)
    held_out = out_of_fold_scores(ConstrainedCentroid(), training)
    in_sample = ConstrainedCentroid().fit(training).target_scores(blobs.train)
    assert held_out.max(axis=1).mean() < in_sample.values.max(axis=1).mean()


def test_clusters_of_one_row_are_gone_when_it_is_held_out() -> None:
    blobs = make_blobs(n_train=1)
    targets = blobs.train_targets
    training = Training(blobs.train, 3, blobs.train, targets, np.arange(3))
    scores = out_of_fold_scores(ConstrainedCentroid(), training)
    assert np.isneginf(scores[np.arange(3), targets]).all()
    assert fit_temperature(scores, targets) == 1


@given(st.lists(st.integers(-1, 3), min_size=5, max_size=40), st.integers(0, 99))
def test_a_subset_keeps_the_targets_of_its_clusters(clusters: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    present, index = np.unique(clusters, return_inverse=True)
    index -= int(present[0] < 0)
    owners = rng.integers(3, size=int(index.max()) + 1)
    rows = np.arange(len(clusters), dtype=float)[:, None]
    training = Training(rows, 3, rows, index, owners, targets=np.arange(len(clusters)))
    part = training.subset(rng.random(len(clusters)) < 0.5)
    kept = part.images[:, 0].astype(int)
    assert (index[kept] >= 0).all()
    np.testing.assert_array_equal(np.asarray(part.cluster_targets)[part.clusters], owners[index[kept]])
    np.testing.assert_array_equal(part.targets, kept)
    assert sorted(set(np.asarray(part.clusters).tolist())) == list(range(len(part.cluster_targets)))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 99))
def test_nearest_of_each_owner(owners: list[int], seed: int) -> None:
    squared = np.random.default_rng(seed).uniform(size=(5, len(owners)))
    values, nearest = nearest_of_each(squared, np.array(owners), 4)
    for owner in range(4):
        own = squared[:, np.array(owners) == owner]
        np.testing.assert_array_equal(values[:, owner], -np.sqrt(own.min(axis=1, initial=np.inf)))
        clusters = nearest[:, owner]
        assert (clusters == -1).all() if not own.size else (np.array(owners)[clusters] == owner).all()


def test_rows_that_are_not_held_out_have_no_score(blobs: Blobs) -> None:
    training = training_of(blobs)
    known = np.where(np.arange(120) % 3 == 0, training.targets, -1)
    scores = out_of_fold_scores(ConstrainedCentroid(), training, known)
    assert (scores[known < 0] == -np.inf).all()
    assert np.isfinite(scores[known >= 0]).all()


def test_a_temperature_of_many_rows_is_found_on_a_sample_of_each_cluster() -> None:
    training = training_of(make_blobs(n_classes=3, n_train=400))
    targets = np.asarray(training.targets)
    np.testing.assert_array_equal(calibration_sample(training, targets), np.arange(1200))
    some = calibration_sample(training, targets, most=120)
    counts = np.bincount(np.asarray(training.clusters)[some])
    np.testing.assert_array_equal(counts, [20] * 6)
    part = training.at(some)
    np.testing.assert_array_equal(part.images, training.images[some])
    np.testing.assert_array_equal(np.asarray(part.fused), np.asarray(training.fused)[some])
    scores = out_of_fold_scores(ConstrainedCentroid(), part, targets[some])
    assert scores.shape == (120, 3)
    few = np.full(1200, -1)
    few[[5, 900]] = targets[[5, 900]]
    assert {5, 900} <= set(calibration_sample(training, few, most=120).tolist())


def test_a_sampled_temperature_is_near_that_of_all_rows() -> None:
    training = training_of(make_blobs(n_classes=4, n_train=3000, spread=4.0))
    targets = np.asarray(training.targets)
    some = calibration_sample(training, targets, most=6000)
    whole, sampled = (
        fit_temperature(out_of_fold_scores(ConstrainedCentroid(), part, known), known)
        for part, known in ((training, targets), (training.at(some), targets[some]))
    )
    assert sampled == pytest.approx(whole, rel=0.1)
