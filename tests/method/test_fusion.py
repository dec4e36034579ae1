import functools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method import fusion
from fused_clip.support.errors import InputError


def test_mean_is_half_of_each() -> None:
    fused = fusion.mean()(np.array([[2.0, 0]]), np.array([[0.0, 4]]))
    np.testing.assert_array_equal(fused, [[1, 2]])


def test_weighted_runs_from_text_to_image() -> None:
    images, texts = np.array([[2.0, 0]]), np.array([0.0, 4])
    np.testing.assert_array_equal(fusion.weighted(1)(images, texts), images)
    np.testing.assert_array_equal(fusion.weighted(0)(images, texts), [texts])
    np.testing.assert_allclose(fusion.weighted(0.25)(images, texts), [[0.5, 3]])


@pytest.mark.parametrize("kind", [fusion.LinearFusion, fusion.Concatenation, fusion.SphericalInterpolation])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fusion_keeps_the_images_dtype(kind: type[fusion.Fusion], dtype: type) -> None:
    rows = np.eye(3, dtype=dtype)
    for texts in (rows.astype(np.float32), rows.astype(np.float64)):
        assert kind()(rows, texts).dtype == dtype  # type: ignore[call-arg]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_the_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=r"fusion\.alpha: must be between 0 and 1"):
        fusion.weighted(alpha)
    with pytest.raises(InputError, match=r"fusion\.alpha: must be between 0 and 1"):
        fusion.Concatenation(alpha=alpha)
    with pytest.raises(InputError, match=r"fusion\.alpha: must be between 0 and 1"):
        fusion.SphericalInterpolation(alpha=alpha)


def test_concatenation_weighs_squared_distances() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 5, 3))
    fused = fusion.Concatenation(alpha=0.3)(images, texts)
    assert fused.shape == (5, 6)
    whole, of_images, of_texts = ((rows[1:] - rows[:-1]) ** 2 for rows in (fused, images, texts))
    expected = 0.3 * of_images.sum(axis=1) + 0.7 * of_texts.sum(axis=1)
    np.testing.assert_allclose(whole.sum(axis=1), expected)


ROWS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(size=(2, 6, 5)))


@given(ROWS, st.floats(0, 1))
def test_slerp_moves_along_the_arc_at_constant_speed(rows: NDArray[np.float64], alpha: float) -> None:
    image, text = fusion.l2_normalized(rows)
    fused = fusion.SphericalInterpolation(alpha=alpha)(*rows)
    np.testing.assert_allclose(np.linalg.norm(fused, axis=1), 1, rtol=1e-12)
    whole = np.arccos((image * text).sum(axis=1))
    np.testing.assert_allclose(np.arccos((fused * text).sum(axis=1).clip(-1, 1)), alpha * whole, atol=1e-6)
    np.testing.assert_allclose(
        np.arccos((fused * image).sum(axis=1).clip(-1, 1)), (1 - alpha) * whole, atol=1e-6
    )


def test_slerp_is_the_formula_of_its_author() -> None:
    """Shoemake: (sin((1 - a) w) t + sin(a w) x) / sin(w), rows of any length."""
    rows = np.random.default_rng(0).normal(size=(2, 6, 5))
    image, text = fusion.l2_normalized(rows)
    angle = np.arccos((image * text).sum(axis=1, keepdims=True))
    expected = (np.sin(0.7 * angle) * text + np.sin(0.3 * angle) * image) / np.sin(angle)
    fused = fusion.SphericalInterpolation(alpha=0.3)(rows[0] * 7, rows[1] * 0.1)
    np.testing.assert_allclose(fused, expected, atol=1e-12)


def test_slerp_ends_at_the_unit_rows() -> None:
    images, texts = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    ends = [fusion.SphericalInterpolation(alpha=alpha)(images, texts) for alpha in (0, 1)]
    assert ends[0].dtype == np.float32
    np.testing.assert_allclose(ends[0], fusion.l2_normalized(texts), atol=1e-7)
    np.testing.assert_allclose(ends[1], fusion.l2_normalized(images), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", [0, 0.25, 0.5, 1])
def test_slerp_of_equal_and_of_opposite_rows(alpha: float, dtype: type) -> None:
    text = np.random.default_rng(0).normal(size=(4, 5)).astype(dtype)
    unit = fusion.l2_normalized(text.astype(np.float64))
    slerp = fusion.SphericalInterpolation(alpha=alpha)
    np.testing.assert_allclose(slerp(3 * text, text), unit, atol=1e-6)
    turned = slerp(-3 * text, text)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose((turned * unit).sum(axis=1), np.cos(alpha * np.pi), atol=1e-6)
    np.testing.assert_array_equal(turned, slerp(-3 * text, text))


@pytest.mark.parametrize(
    ("kind", "blind"),
    [
        (fusion.weighted(0.0), True),
        (fusion.mean(), False),
        (fusion.Concatenation(alpha=0), True),
        (fusion.Concatenation(), False),
        (fusion.SphericalInterpolation(alpha=0), True),
        (fusion.SphericalInterpolation(), False),
        (fusion.FunctionFusion(np.add), False),
    ],
)
def test_a_fusion_without_a_share_for_the_image_is_known(kind: fusion.Fusion, blind: bool) -> None:
    images, texts = np.random.default_rng(1).normal(size=(2, 4, 3))
    assert kind.ignores_images == blind == np.allclose(kind(images, texts), kind(2 * images[::-1], texts))


def test_a_function_is_a_fusion() -> None:
    images, texts = np.array([[2.0, 3]]), np.array([0.5, 4])
    np.testing.assert_array_equal(fusion.FunctionFusion(function=np.multiply)(images, texts), [[1, 12]])


FUSIONS = [
    fusion.LinearFusion,
    fusion.Concatenation,
    fusion.SphericalInterpolation,
    functools.partial(fusion.FunctionFusion, np.add),
]


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize(("inputs", "output"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_fusion_normalises_before_and_after(
    kind: Callable[..., fusion.Fusion], inputs: bool, output: bool
) -> None:
    images, texts = np.random.default_rng(1).normal(size=(2, 4, 3))
    plain, own = kind(), kind(normalize_inputs=inputs, normalize_output=output)
    before = fusion.l2_normalized if inputs else np.asarray
    after = fusion.l2_normalized if output else np.asarray
    np.testing.assert_allclose(own(images, texts), after(plain.combine(before(images), before(texts))))
    np.testing.assert_allclose(own(images, None), after(before(images)))


@pytest.mark.parametrize("kind", FUSIONS)
def test_one_text_row_is_fused_with_every_image(kind: Callable[..., fusion.Fusion]) -> None:
    images, texts = np.random.default_rng(1).normal(size=(2, 4, 3))
    repeated = np.tile(texts[0], (4, 1))
    np.testing.assert_array_equal(kind()(images, texts[0]), kind()(images, repeated))


def test_each_row_is_normalised_by_its_own_length_and_zero_rows_stay() -> None:
    rows = np.array([[3.0, 4], [0, 0], [0, -2], [5, 12]])
    expected = [[0.6, 0.8], [0, 0], [0, -1], [5 / 13, 12 / 13]]
    np.testing.assert_allclose(fusion.l2_normalized(rows), expected, rtol=1e-15)
    np.testing.assert_allclose(fusion.unit_rows(rows.astype(np.float32)), expected, rtol=1e-15)
    np.testing.assert_allclose(fusion.l2_normalized(rows[0]), expected[0], rtol=1e-15)
    np.testing.assert_allclose(fusion.l2_normalized(rows[None]), [expected], rtol=1e-15)


def test_normalisation_is_of_the_inputs_or_of_the_output_by_hand() -> None:
    """Images of lengths 5 and 10, a text of length 2: each way gives other rows."""
    images, text = np.array([[3.0, 4], [10, 0]]), np.array([0.0, 2])
    plain = fusion.mean()(images, text)
    np.testing.assert_allclose(plain, [[1.5, 3], [5, 1]])
    np.testing.assert_allclose(fusion.mean(normalize_inputs=True)(images, text), [[0.3, 0.9], [0.5, 0.5]])
    by_output = fusion.mean(normalize_output=True)(images, text)
    np.testing.assert_allclose(by_output, plain / np.sqrt([[11.25], [26]]))
    both = fusion.mean(normalize_inputs=True, normalize_output=True)(images, text)
    np.testing.assert_allclose(both, np.array([[0.3, 0.9], [0.5, 0.5]]) / np.sqrt([[0.9], [0.5]]))


@pytest.mark.parametrize(
    "kind",
    [
        fusion.mean(),
        fusion.weighted(0.2),
        fusion.weighted(1),
        fusion.Concatenation(0.3),
        fusion.Concatenation(1),
        fusion.LinearFusion(2, -3, normalize_inputs=True),
    ],
)
def test_the_image_is_taken_out_of_fused_rows_and_of_their_means(kind: fusion.Fusion) -> None:
    rng = np.random.default_rng(0)
    images, texts = kind.inputs(rng.normal(size=(6, 4))), kind.inputs(rng.normal(size=(1, 4)))
    fused = kind.fuse(images, np.repeat(texts, 6, axis=0))
    np.testing.assert_allclose(kind.image_part(fused, np.repeat(texts, 6, axis=0)), images)
    mean = fused.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(kind.image_part(mean, texts), images.mean(axis=0, keepdims=True))


@pytest.mark.parametrize(
    "kind",
    [
        fusion.mean(normalize_output=True),
        fusion.weighted(0),
        fusion.Concatenation(0),
        fusion.Concatenation(0.5, normalize_output=True),
        fusion.SphericalInterpolation(),
        fusion.FunctionFusion(lambda images, texts: images),
    ],
)
def test_no_image_comes_out_of_rows_that_do_not_keep_it(kind: fusion.Fusion) -> None:
    with pytest.raises(InputError, match=r"can't be .* taken out of its fused rows"):
        kind.image_part(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(
    "kind",
    [
        fusion.mean(),
        fusion.weighted(0.3, normalize_inputs=True, normalize_output=True),
        fusion.Concatenation(alpha=0.2),
        fusion.SphericalInterpolation(alpha=0.4),
    ],
)
def test_blocks_of_many_rows_are_fused_as_one(kind: fusion.Fusion) -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(100_003, 3)).astype(np.float32), rng.normal(size=(4, 3))
    index = rng.integers(0, 4, len(images))
    fused = kind.fuse_each(images, texts, index)
    np.testing.assert_array_equal(fused, kind(images, texts[index]))
    assert fused.dtype == np.float32
    np.testing.assert_array_equal(kind.fuse_each(images, None, None), kind(images, None))


def test_a_fusion_of_your_own_sees_all_rows_at_once() -> None:
    def centred(images: NDArray[np.float64], texts: NDArray[np.float64]) -> NDArray[np.float64]:
        return images - images.mean(axis=0) + texts

    images, texts = np.random.default_rng(0).normal(size=(100_003, 2)), np.zeros((1, 2))
    fused = fusion.FunctionFusion(centred).fuse_each(images, texts, np.zeros(len(images), int))
    np.testing.assert_allclose(fused.mean(axis=0), 0, atol=1e-12)
