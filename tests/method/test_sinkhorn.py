"""Balanced pairing, against an optimal-transport library and the steps of its authors."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax

from fused_clip.method import pairing
from fused_clip.support.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int = 40, p: int = 5) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings around a common mean, so that one prompt is near to most images, as with CLIP."""
    random = np.random.default_rng(seed)
    mean = random.normal(size=16)
    images = mean + 0.5 * random.normal(size=(n, 16))
    texts = mean + 0.5 * random.normal(size=(p, 16))
    return images.astype(np.float32), texts.astype(np.float32)


def scores_of(seed: int, temperature: float = 0.2) -> NDArray[np.float64]:
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in drawn(seed))
    return np.asarray(log_softmax(images.astype(float) @ texts.T / temperature, axis=1))


@given(SEEDS, st.lists(st.floats(0.1, 1), min_size=5, max_size=5))
@settings(max_examples=10)
def test_converged_the_marginals_hold_and_pot_finds_the_same_plan(seed: int, weights: list[float]) -> None:
    scores, shares = scores_of(seed), np.array(weights) / sum(weights)
    plan = np.exp(pairing.balanced(scores, shares, 200))
    np.testing.assert_allclose(plan.sum(axis=0), shares, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 40, atol=1e-12)
    rows = np.full(40, 1 / 40)
    expected = ot.sinkhorn(rows, shares, -scores, 1.0, method="sinkhorn_log", numItermax=200, stopThr=1e-12)
    np.testing.assert_allclose(plan, expected, atol=1e-6)


def by_its_authors(
    images: NDArray[np.float32], texts: NDArray[np.float32], gamma: float
) -> NDArray[np.int64]:
    """Softmax, then columns and rows scaled in turn, 20 times, as the paper has it."""
    plan = np.zeros((len(images), len(texts)))
    for i, image in enumerate(images.astype(float)):
        for j, text in enumerate(texts.astype(float)):
            plan[i, j] = np.exp(image @ text / np.linalg.norm(image) / np.linalg.norm(text) / 0.01)
        plan[i] /= plan[i].sum()
    plan /= plan.sum()
    shares = plan.sum(axis=0) ** gamma
    shares /= shares.sum()
    for _ in range(20):
        for j in range(len(texts)):
            plan[:, j] *= shares[j] / plan[:, j].sum()
        for i in range(len(images)):
            plan[i] *= 1 / len(images) / plan[i].sum()
    return plan.argmax(axis=1)


@pytest.mark.parametrize("gamma", [0, 0.3, 0.5, 1])
@pytest.mark.parametrize("seed", range(5))
def test_it_pairs_as_the_authors_do(seed: int, gamma: float) -> None:
    images, texts = drawn(seed)
    paired = pairing.sinkhorn(images, texts, marginals="estimated", gamma=gamma)
    np.testing.assert_array_equal(paired, by_its_authors(images, texts, gamma))
    if gamma == 0:
        np.testing.assert_array_equal(paired, pairing.sinkhorn(images, texts))
    if gamma == 1:
        np.testing.assert_array_equal(paired, pairing.zero_shot(images, texts))


@given(SEEDS)
@settings(max_examples=20)
def test_permuting_prompts_permutes_answers_and_norms_do_not_count(seed: int) -> None:
    images, texts = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(texts))
    expected = pairing.sinkhorn(images, texts)
    np.testing.assert_array_equal(order[pairing.sinkhorn(images, texts[order])], expected)
    np.testing.assert_array_equal(pairing.sinkhorn(images * np.arange(1, 41)[:, None], texts * 3), expected)


def test_a_prompt_near_to_all_images_no_longer_takes_them_all() -> None:
    random = np.random.default_rng(0)
    target = np.arange(300) % 3
    texts = np.eye(4)[:3] + np.outer([0, 0, 2], np.eye(4)[3])
    images = np.eye(4)[target] + 2 * np.eye(4)[3] + 0.05 * random.normal(size=(300, 4))
    assert (pairing.zero_shot(images, texts) == target).mean() < 0.9
    np.testing.assert_array_equal(pairing.sinkhorn(images, texts, temperature=0.1), target)


def test_a_temperature_near_zero_is_no_trouble() -> None:
    images, texts = drawn(0)
    paired = pairing.sinkhorn(images, texts, temperature=1e-5)
    assert set(paired) <= set(range(5))
    assert np.isfinite(pairing.balanced(scores_of(0, 1e-5), np.full(5, 0.2), 20)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, r"^pairing\.temperature: must be positive, got 0"),
        ({"iterations": 0}, r"^pairing\.iterations: must be at least 1, got 0"),
        ({"marginals": "unifrom"}, r"^pairing\.marginals: .*did you mean 'uniform'"),
        ({"marginals": "estimated", "gamma": 2}, r"^pairing\.gamma: must be between 0 and 1, got 2"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pairing.sinkhorn(*drawn(0), **options)  # type: ignore[arg-type]


def test_fewer_images_than_prompts_are_refused() -> None:
    images, texts = drawn(0)
    with pytest.raises(InputError, match="each of 5 prompts a share of the images, which are fewer, got 4"):
        pairing.sinkhorn(images[:4], texts)
