"""Centroid classifiers against a slow loop straight from the definition of inference."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method.classifier import (
    ConstrainedCentroid,
    NearestClassMean,
    NearestClusterMean,
    SoftConstrainedCentroid,
    Training,
)
from fused_clip.method.classifier.contract import cluster_means
from fused_clip.method.fusion import (
    Concatenation,
    FunctionFusion,
    Fusion,
    LinearFusion,
    SphericalInterpolation,
    l2_normalized,
)
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

Rows = NDArray[np.float64]


def slow_assignment(
    X: Rows,
    fused: Rows,
    clusters: NDArray[np.int64],
    cluster_targets: NDArray[np.int64],
    texts: Rows,
    prompt_of_target: NDArray[np.int64],
    fuse: Callable[[Rows, Rows], Rows],
) -> list[tuple[int, int, int, float, float]]:
    """For every image, every prompt j and every cluster labelled with a target that j stands for."""
    found = []
    for x in X:
        pairs = []
        for j, t in enumerate(texts):
            for c, target in enumerate(cluster_targets):
                if prompt_of_target[target] == j:
                    center = fused[clusters == c].mean(axis=0)
                    pairs.append((float(np.linalg.norm(fuse(x[None], t)[0] - center)), int(target), j, c))
        distance, target, prompt, cluster = min(pairs, key=lambda pair: (round(pair[0], 9), pair[1]))
        others = [pair[0] for pair in pairs if pair[1] != target]
        found.append((target, prompt, cluster, distance, min(others, default=np.inf) - distance))
    return found


def example(seed: int, shared_prompt: bool) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """A random fitted situation: 7 clusters of 4 targets, 3 or 1 of them without a prompt of their own."""
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(7), rng.integers(-1, 7, size=40)])
    return {
        "fused": rng.normal(size=(47, 5)),
        "clusters": clusters,
        "cluster_targets": rng.integers(4, size=7),
        "texts": rng.normal(size=(4, 5)),
        "prompt_of_target": np.zeros(4, dtype=np.int64) if shared_prompt else rng.permutation(4),
        "X": rng.normal(size=(9, 5)),
    }


FUSIONS: list[Fusion] = [
    LinearFusion(),
    LinearFusion(image_weight=0.3, text_weight=0.7),
    Concatenation(alpha=0.3),
    FunctionFusion(function=np.multiply),
]


@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(FUSIONS))
def test_assignment_equals_the_definition(
    seed: int, shared_prompt: bool, inputs: bool, output: bool, plain: Fusion
) -> None:
    fuse = dataclasses.replace(plain, normalize_inputs=inputs, normalize_output=output)
    case = example(seed, shared_prompt)
    X = case.pop("X")
    texts, prompt_of_target = case["texts"], case["prompt_of_target"]
    case["fused"] = fuse(case["fused"], texts[np.arange(len(case["fused"])) % len(texts)])
    training = Training(
        np.empty((47, 5)),
        4,
        case["fused"],
        case["clusters"],
        case["cluster_targets"],
        texts,
        prompt_of_target,
        fusion=fuse,
    )
    got = ConstrainedCentroid().fit(training).target_scores(X).assign(prompt_of_target)
    expected = slow_assignment(X, fuse=fuse, **case)  # type: ignore[arg-type]
    targets, prompts, clusters, distances, margins = zip(*expected, strict=True)
    np.testing.assert_array_equal(got.targets, targets)
    np.testing.assert_array_equal(got.prompts, prompts)
    np.testing.assert_array_equal(got.clusters, clusters)
    np.testing.assert_allclose(got.distances, distances, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.margins, margins, rtol=1e-4, atol=1e-6)


def fitted_without_text(cluster_targets: list[int], centers: Rows) -> ConstrainedCentroid:
    index = np.arange(len(centers))
    training = Training(centers, max(cluster_targets) + 1, centers, index, np.array(cluster_targets))
    return ConstrainedCentroid().fit(training)


def test_without_text_it_is_the_nearest_centroid() -> None:
    model = fitted_without_text([1, 0], np.array([[0.0, 0], [4, 0]]))
    got = model.target_scores(np.array([[1.0, 0], [3, 0]])).assign(None)
    assert got.targets.tolist() == [1, 0]
    assert got.prompts.tolist() == [-1, -1]
    np.testing.assert_allclose(got.margins, [2, 2])


def test_ties_go_to_the_lowest_target() -> None:
    model = fitted_without_text([2, 0, 1], np.array([[1.0, 0], [0, 1], [-1, 0]]))
    got = model.target_scores(np.zeros((1, 2))).assign(None)
    assert got.targets.tolist() == [0]
    assert got.clusters.tolist() == [1]


def test_one_target_leaves_an_infinite_margin() -> None:
    model = fitted_without_text([0, 0], np.array([[0.0, 0], [4, 0]]))
    assert np.isinf(model.target_scores(np.ones((3, 2))).assign(None).margins).all()


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    model = fitted_without_text([0, 1, 2], rng.normal(size=(3, 4)))
    X = rng.normal(size=(50, 4)).astype(np.float32)
    whole = model.target_scores(X).assign(None)
    monkeypatch.setattr("fused_clip.method.classifier.centroids._ROWS_A_BLOCK", 7)
    for one, other in zip(whole, model.target_scores(X).assign(None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_cluster_means_leave_noise_out() -> None:
    rows = np.array([[1.0], [3], [100], [7]])
    np.testing.assert_array_equal(cluster_means(rows, np.array([0, 0, -1, 1]), 2), [[2], [7]])


def test_no_row_is_an_answer_too() -> None:
    for model in (fitted_without_text([0, 1], np.eye(2)), means_of_clusters([0, 1])):
        scores = model.target_scores(np.empty((0, 2)))
        assert scores.values.shape == (0, 2)
        assert len(scores.assign(None).targets) == 0


def means_of_clusters(cluster_targets: list[int]) -> NearestClusterMean:
    images = np.eye(2)
    return NearestClusterMean().fit(Training(images, 2, images * 9, np.arange(2), np.array(cluster_targets)))


def test_means_of_clusters_are_of_the_images_alone() -> None:
    model = means_of_clusters([1, 0])
    got = model.target_scores(np.array([[1.0, 0.1]])).assign(None)
    assert (got.targets.tolist(), got.clusters.tolist()) == ([1], [0])
    np.testing.assert_array_equal(model.cluster_centers_, np.eye(2))


def test_the_nearest_mean_is_never_of_a_target_without_training_rows() -> None:
    rng = np.random.default_rng(0)
    training = Training(rng.normal(size=(30, 3)), 4, targets=rng.choice([0, 2, 3], size=30))
    model = NearestClassMean().fit(training)
    scores = model.target_scores(rng.normal(size=(50, 3)))
    assert model.targets_.tolist() == [0, 2, 3]
    assert np.isneginf(scores.values[:, 1]).all()
    assert scores.clusters is None
    assert set(scores.values.argmax(axis=1)) == {0, 2, 3}


@pytest.mark.parametrize("classifier", [ConstrainedCentroid(), NearestClusterMean()])
def test_a_classifier_of_clusters_says_that_it_needs_them(
    classifier: ConstrainedCentroid | NearestClusterMean,
) -> None:
    with pytest.raises(ValueError, match="needs clusters; set uses_clusters = True"):
        classifier.fit(Training(np.eye(3), 3))


# Soft evidence


def training_of(case: dict[str, NDArray[np.float64] | NDArray[np.int64]], fuse: Fusion) -> Training:
    texts, prompts = case["texts"], case["prompt_of_target"]
    fused = fuse(case["fused"], texts[np.arange(len(case["fused"])) % len(texts)])
    clusters, owners = case["clusters"], case["cluster_targets"]
    return Training(np.empty((47, 5)), 4, fused, clusters, owners, texts, prompts, fusion=fuse)  # type: ignore[arg-type]


def slow_evidence(X: Rows, training: Training, temperature: float) -> NDArray[np.float64]:
    """The log-sum-exp of every target, a cluster and an image at a time."""
    fused, clusters = np.asarray(training.fused), np.asarray(training.clusters)
    owners, prompts = np.asarray(training.cluster_targets), np.asarray(training.prompt_of_target)
    centers = [fused[clusters == c].mean(axis=0) for c in range(len(owners))]
    rows = [(row, c) for row, c in zip(fused, clusters, strict=True) if c >= 0]
    variance = sum(float(((row - centers[c]) ** 2).sum()) for row, c in rows) / (len(rows) * fused.shape[1])
    found = np.full((len(X), training.n_targets), -np.inf)
    for i, x in enumerate(X):
        for target in set(owners.tolist()):
            odds = 0.0
            for c in np.flatnonzero(owners == target):
                row = training.fusion(x[None], np.asarray(training.texts)[prompts[target]])[0]
                squared = float(((row - centers[c]) ** 2).sum())
                odds += float((clusters == c).sum()) * np.exp(-squared / (2 * variance * temperature))
            found[i, target] = temperature * np.log(odds)
    return found


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(FUSIONS), st.sampled_from([0.5, 1.0, 3.0]))
def test_soft_evidence_is_the_sum_over_all_clusters(
    seed: int, shared_prompt: bool, fuse: Fusion, temperature: float
) -> None:
    case = example(seed, shared_prompt)
    training = training_of(case, fuse)
    got = SoftConstrainedCentroid(temperature).fit(training).target_scores(case["X"])
    np.testing.assert_allclose(got.values, slow_evidence(case["X"], training, temperature), atol=1e-5)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(FUSIONS))
def test_at_low_temperature_soft_evidence_is_the_nearest_centroid(
    seed: int, shared_prompt: bool, fuse: Fusion
) -> None:
    case = example(seed, shared_prompt)
    training = training_of(case, fuse)
    hard = ConstrainedCentroid().fit(training).target_scores(case["X"])
    soft = SoftConstrainedCentroid(1e-6).fit(training).target_scores(case["X"])
    clear = hard.assign(None).margins > 1e-3
    np.testing.assert_array_equal(soft.values.argmax(axis=1)[clear], hard.values.argmax(axis=1)[clear])
    (nearest, there) = (np.asarray(one.clusters) for one in (hard, soft))
    assert (nearest == there).mean() > 0.95, "but for ties"


def test_many_clusters_and_large_ones_outvote_the_nearest() -> None:
    centers = np.array([[0.0], [2.1], [2.1]])
    index = np.repeat(np.arange(3), 20)
    noise = np.tile([-2.0, 2.0], 30)[:, None]
    training = Training(centers[index], 2, centers[index] + noise, index, np.array([0, 1, 1]))
    x = np.array([[1.0]])
    assert ConstrainedCentroid().fit(training).target_scores(x).values.argmax() == 0
    assert SoftConstrainedCentroid().fit(training).target_scores(x).values.argmax() == 1
    uneven = np.repeat(np.arange(2), [10, 40])
    training = Training(centers[uneven], 2, centers[uneven] + noise[:50], uneven, np.array([0, 1]))
    assert SoftConstrainedCentroid().fit(training).target_scores(x).values.argmax() == 1


def test_noise_has_no_evidence_and_clusters_of_equal_rows_are_the_nearest_centroid() -> None:
    rows = np.array([[0.0], [0], [4], [4], [90]])
    training = Training(rows, 2, rows, np.array([0, 0, 1, 1, -1]), np.array([0, 1]))
    model = SoftConstrainedCentroid().fit(training)
    assert model.cluster_sizes_.tolist() == [2, 2]
    assert model.variance_[0] < 1e-9
    assert model.target_scores(np.array([[1.9], [2.1]])).values.argmax(axis=1).tolist() == [0, 1]


def test_a_damaged_soft_model_is_refused() -> None:
    rows = np.array([[0.0], [1], [4], [5]])
    model = SoftConstrainedCentroid().fit(Training(rows, 2, rows, np.array([0, 0, 1, 1]), np.array([0, 1])))
    for change, message in (
        ({"variance": np.zeros(1)}, "variance must be a number above 0"),
        ({"cluster_sizes": np.array([0, 4])}, "cluster_sizes must be at least 1"),
        ({"cluster_sizes": np.array([4])}, "cluster_sizes must be 2 whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftConstrainedCentroid().restore({**model.arrays(), **change}, 2, LinearFusion())
    with pytest.raises(InputError, match=r"classifier\.temperature: must be a number, at least 1e-06, got 0"):
        SoftConstrainedCentroid(0)


def grown(fusion: Fusion | None = None) -> ConstrainedCentroid:
    """A classifier of two of three blobs, to which the third is added by its text."""
    blobs = make_blobs()
    kept = blobs.train_targets < 2
    images, targets, texts = blobs.train[kept], blobs.train_targets[kept], blobs.texts
    fusion = fusion or LinearFusion()
    training = Training(
        images,
        2,
        fusion(images, texts[targets]),
        targets,
        np.arange(2),
        texts[:2],
        np.arange(2),
        fusion=fusion,
    )
    return ConstrainedCentroid().fit(training).with_target(texts[2:])


def test_an_added_target_wins_where_its_text_is_nearer_than_that_of_the_answer() -> None:
    """The rule, computed row by row."""
    blobs = make_blobs(spread=3)
    classifier = grown()
    found = classifier.target_scores(blobs.test)
    texts, unit = l2_normalized(blobs.texts), l2_normalized(blobs.test)
    for values, clusters, row in zip(found.values, found.clusters, unit, strict=True):
        answer = int(values[:2].argmax())
        lead = row @ texts[2] - row @ texts[answer]
        np.testing.assert_allclose(values[2], values[answer] + classifier.gain_[0] * lead, rtol=1e-4)
        assert (values.argmax() == 2) == (lead > 0)
        assert clusters[2] == -1
    assert {0, 1, 2} == set(found.values.argmax(axis=1).tolist())


def test_the_gain_is_the_slope_of_scores_over_cosines_at_the_clusters() -> None:
    blobs = make_blobs()
    classifier = grown()
    means = np.stack([blobs.train[blobs.train_targets == kind].mean(axis=0) for kind in range(2)])
    known = classifier.target_scores(means).values[:, :2]
    cosines = l2_normalized(means) @ l2_normalized(blobs.texts[:2]).T
    leads, gaps = cosines[:, 0] - cosines[:, 1], known[:, 0] - known[:, 1]
    assert classifier.gain_[0] == pytest.approx((leads @ gaps) / (leads @ leads), rel=1e-5)


@pytest.mark.parametrize(
    "fusion", [LinearFusion(normalize_inputs=True), Concatenation(0.3), LinearFusion(0.9, 0.1)]
)
def test_targets_are_added_to_fusions_that_keep_the_image(fusion: Fusion) -> None:
    blobs = make_blobs()
    answers = grown(fusion).target_scores(blobs.test).values.argmax(axis=1)
    assert (answers == blobs.test_targets).mean() > 0.95


@pytest.mark.parametrize(
    "fusion", [LinearFusion(normalize_output=True), SphericalInterpolation(), LinearFusion(0, 1)]
)
def test_other_fusions_refuse_a_target(fusion: Fusion) -> None:
    with pytest.raises(InputError, match=r"fusion: can't be .*: the image can't be taken out"):
        grown(fusion)


def test_texts_that_do_not_agree_with_the_images_refuse_a_target() -> None:
    blobs = make_blobs()
    kept = blobs.train_targets < 2
    images, targets = blobs.train[kept], blobs.train_targets[kept]
    swapped = blobs.texts[[1, 0]]
    fused = (images + swapped[targets]) / 2
    training = Training(images, 2, fused, targets, np.arange(2), swapped, np.arange(2))
    with pytest.raises(InputError, match="don't agree with their images"):
        ConstrainedCentroid().fit(training).with_target(blobs.texts[2:])


def test_a_single_target_and_images_alone_refuse_another() -> None:
    blobs = make_blobs()
    images = blobs.train[blobs.train_targets == 0]
    clusters = np.zeros(len(images), np.int64)
    alone = Training(images, 1, images, clusters, np.array([0]))
    one = replace(alone, texts=blobs.texts[:1], prompt_of_target=np.array([0]))
    for training, reason in ((alone, "by their images alone"), (one, "don't agree")):
        with pytest.raises(InputError, match=reason):
            ConstrainedCentroid().fit(training).with_target(blobs.texts[1:2])


@pytest.mark.parametrize(
    "change",
    [
        {"added": np.array([0])},  # which has a cluster
        {"added": np.array([3])},
        {"added": np.array([2.0])},
        {"gain": np.array([0.0])},
        {"gain": np.array([np.inf])},
        {"gain": np.array([1.0, 2.0])},
    ],
)
def test_damaged_arrays_of_an_added_target_are_refused(change: dict[str, Any]) -> None:
    classifier = grown()
    with pytest.raises(ValueError, match=r"added|gain"):
        ConstrainedCentroid().restore({**classifier.arrays(), **change}, 3, classifier.fusion_)


def test_means_of_many_rows_are_summed_by_blocks() -> None:
    rng = np.random.default_rng(0)
    rows, clusters = rng.normal(size=(200_007, 2)).astype(np.float32), rng.integers(-1, 3, 200_007)
    clusters[:100_000] = np.minimum(clusters[:100_000], 1)  # a cluster that the first block lacks
    expected = [rows[clusters == own].mean(axis=0, dtype=np.float64) for own in range(3)]
    np.testing.assert_allclose(cluster_means(rows, clusters, 3), expected, rtol=1e-12)
