import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.method import pairing
from fused_clip.support.errors import InputError


def test_oracle_follows_what_stands_for_the_target() -> None:
    rows = np.zeros((3, 2), dtype=np.float32)
    assert pairing.oracle(np.array([0, 1, 1]), np.array([2, 0]), rows, rows).tolist() == [2, 0, 0]


def test_oracle_pairs_images_without_a_label_by_the_nearest_prompt() -> None:
    texts = np.eye(2, dtype=np.float32)
    images = np.array([[1.0, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert pairing.oracle(np.array([1, -1, -1]), np.arange(2), images, texts).tolist() == [1, 0, 1]


def test_zero_shot_takes_the_highest_cosine_whatever_the_norms() -> None:
    texts = np.array([[100.0, 0], [0, 0.01]], dtype=np.float32)
    images = np.array([[1.0, 2], [2, 1]], dtype=np.float32)
    assert pairing.zero_shot(images, texts).tolist() == [1, 0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_zero_shot_is_the_argmax_of_cosines_one_by_one(seed: int, p: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    texts, images = (
        rng.normal(size=(count, d)).astype(np.float32) * 10 ** rng.uniform(-2, 2, (count, 1))
        for count in (p, 7)
    )
    got = pairing.zero_shot(images, texts)
    for image, chosen in zip(images, got, strict=True):
        cosines = [image @ text / np.sqrt((image @ image) * (text @ text)) for text in texts]
        assert cosines[chosen] == pytest.approx(max(cosines), abs=1e-6)
    np.testing.assert_array_equal(got, pairing.zero_shot(3 * images, texts))


def test_zero_shot_gives_ties_to_the_lowest_prompt() -> None:
    texts = np.array([[0.0, 1], [1, 0], [2, 0], [1, 0]], dtype=np.float32)
    images = np.array([[1.0, 0], [0, 0], [0, 3]], dtype=np.float32)
    assert pairing.zero_shot(images, texts).tolist() == [1, 0, 0]


@given(st.integers(1, 200), st.integers(2, 9), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_noisy_changes_exactly_the_asked_share(n: int, p: int, fraction: float, seed: int) -> None:
    targets = np.random.default_rng(0).integers(p, size=n)
    stands_for = np.arange(p)[::-1].copy()
    texts = np.ones((p, 2), dtype=np.float32)
    images = np.ones((n, 2), dtype=np.float32)
    index = pairing.noisy(targets, stands_for, images, texts, fraction, seed)
    assert (index != stands_for[targets]).sum() == round(fraction * n)
    assert ((index >= 0) & (index < p)).all()
    np.testing.assert_array_equal(index, pairing.noisy(targets, stands_for, images, texts, fraction, seed))


def test_noisy_draws_the_other_prompts_uniformly() -> None:
    targets = np.zeros(30_000, dtype=np.int64)
    images, texts = np.ones((30_000, 2), dtype=np.float32), np.ones((4, 2), dtype=np.float32)
    index = pairing.noisy(targets, np.arange(4), images, texts, 1.0, 0)
    np.testing.assert_allclose(np.bincount(index) / 30_000, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.015)


def test_a_seed_gives_noisy_the_draw_that_it_always_gave() -> None:
    """Runs of one seed are compared over versions: another draw of the same law is another result."""
    ones = np.ones((10, 2), dtype=np.float32)
    index = pairing.noisy(np.zeros(10, dtype=np.int64), np.arange(5), ones, ones[:5], 0.6, 3)
    assert index.tolist() == [2, 1, 0, 0, 2, 0, 0, 2, 3, 3]


@pytest.mark.parametrize(("fraction", "prompts"), [(1.5, 3), (-0.1, 3), (0.5, 1)])
def test_noisy_refuses_what_can_not_be(fraction: float, prompts: int) -> None:
    texts = np.ones((prompts, 2), dtype=np.float32)
    with pytest.raises(InputError, match="pairing"):
        pairing.noisy(np.zeros(4, dtype=np.int64), np.zeros(1, dtype=np.int64), texts, texts, fraction, 0)
