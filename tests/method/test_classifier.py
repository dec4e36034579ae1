"""The classifier against a slow loop straight from the definition of inference."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method import fusion
from fused_clip.method.classifier import ConstrainedCentroid, cluster_means

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


def product(images: Rows, texts: Rows) -> Rows:
    """A fusion that is not linear."""
    return np.asarray(images * texts)


@given(
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
    st.sampled_from([fusion.mean(), fusion.weighted(0.3), product]),
)
def test_assignment_equals_the_definition(
    seed: int, shared_prompt: bool, normalize: bool, fuse: Callable[[Rows, Rows], Rows]
) -> None:
    case = example(seed, shared_prompt)
    X = case.pop("X")
    texts, prompt_of_target = case["texts"], case["prompt_of_target"]
    model = ConstrainedCentroid().fit(
        case["fused"],
        case["clusters"],
        cluster_targets=case["cluster_targets"],
        text_embeddings=texts,
        prompt_of_target=prompt_of_target,
        fusion=fuse,
        normalize_output=normalize,
    )
    whole = (lambda x, t: fusion.l2_normalized(fuse(x, t))) if normalize else fuse
    got = model.assign(X)
    expected = slow_assignment(X, fuse=whole, **case)  # type: ignore[arg-type]
    targets, prompts, clusters, distances, margins = zip(*expected, strict=True)
    np.testing.assert_array_equal(got.targets, targets)
    np.testing.assert_array_equal(got.prompts, prompts)
    np.testing.assert_array_equal(got.clusters, clusters)
    np.testing.assert_allclose(got.distances, distances, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.margins, margins, rtol=1e-4, atol=1e-6)


def fitted_without_text(cluster_targets: list[int], centers: Rows) -> ConstrainedCentroid:
    index = np.arange(len(centers))
    return ConstrainedCentroid().fit(centers, index, cluster_targets=np.array(cluster_targets))


def test_without_text_it_is_the_nearest_centroid() -> None:
    model = fitted_without_text([1, 0], np.array([[0.0, 0], [4, 0]]))
    got = model.assign(np.array([[1.0, 0], [3, 0]]))
    assert got.targets.tolist() == [1, 0]
    assert got.prompts.tolist() == [-1, -1]
    np.testing.assert_allclose(got.margins, [2, 2])


def test_ties_go_to_the_lowest_target() -> None:
    model = fitted_without_text([2, 0, 1], np.array([[1.0, 0], [0, 1], [-1, 0]]))
    got = model.assign(np.zeros((1, 2)))
    assert got.targets.tolist() == [0]
    assert got.clusters.tolist() == [1]


def test_one_target_leaves_an_infinite_margin() -> None:
    model = fitted_without_text([0, 0], np.array([[0.0, 0], [4, 0]]))
    assert np.isinf(model.assign(np.ones((3, 2))).margins).all()


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    model = fitted_without_text([0, 1, 2], rng.normal(size=(3, 4)))
    X = rng.normal(size=(50, 4)).astype(np.float32)
    whole = model.assign(X)
    monkeypatch.setattr("fused_clip.method.classifier._ROWS_A_BLOCK", 7)
    for one, other in zip(whole, model.assign(X), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_cluster_means_leave_noise_out() -> None:
    rows = np.array([[1.0], [3], [100], [7]])
    np.testing.assert_array_equal(cluster_means(rows, np.array([0, 0, -1, 1]), 2), [[2], [7]])
