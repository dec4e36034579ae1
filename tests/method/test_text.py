from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method import text
from fused_clip.support.errors import InputError


def test_rotation_keeps_norms_and_angles_and_loses_direction() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    turned = text.rotated(rows, random_state=3)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-4)
    cosines = (turned * rows).sum(axis=1) / (rows**2).sum(axis=1)
    assert np.abs(cosines).max() < 0.6


def test_rotation_follows_its_seed() -> None:
    rows = np.eye(3, 8, dtype=np.float32)
    np.testing.assert_array_equal(text.rotated(rows, 1), text.rotated(rows, 1))
    assert not np.allclose(text.rotated(rows, 1), text.rotated(rows, 2))


def test_an_ensemble_of_one_is_its_text() -> None:
    row = np.array([[3.0, 4.0]], dtype=np.float32)
    np.testing.assert_array_equal(text.ensemble(row), row[0])


def test_an_ensemble_averages_directions_at_the_mean_norm() -> None:
    members = np.array([[10.0, 0], [0, 2.0]], dtype=np.float32)
    mean = text.ensemble(members)
    assert mean[0] == pytest.approx(mean[1])
    assert np.linalg.norm(mean) == pytest.approx(6)


def prompts(count: int = 6, dim: int = 64) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return (rng.normal(size=dim) + 0.3 * rng.normal(size=(count, dim))).astype(np.float32)


@pytest.mark.parametrize("control", [text.rotated, text.isotropic, text.orthogonal, text.permuted])
def test_a_control_follows_its_seed_and_keeps_the_norms(control: Callable[..., NDArray[np.float32]]) -> None:
    rows = prompts()
    drawn = control(rows, random_state=1)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, control(rows, random_state=1))
    assert not np.allclose(drawn, control(rows, random_state=2))
    kept, norms = np.linalg.norm(drawn, axis=1), np.linalg.norm(rows, axis=1)
    if control is text.permuted:
        kept, norms = np.sort(kept), np.sort(norms)
    np.testing.assert_allclose(kept, norms, rtol=1e-5)


def cosines(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((unit @ unit.T)[~np.eye(len(rows), dtype=bool)])


def test_controls_without_geometry_are_further_apart_than_prompts() -> None:
    rows = prompts()
    assert cosines(rows).min() > 0.8
    assert np.abs(cosines(text.isotropic(rows, 0))).max() < 0.5
    assert np.abs(cosines(text.orthogonal(rows, 0))).max() < 1e-5


def test_orthogonal_text_is_drawn_uniformly() -> None:
    first = np.stack([text.orthogonal(np.ones((2, 2), np.float32), seed)[0] for seed in range(400)])
    assert np.abs(first.mean(axis=0)).max() < 0.2


def test_more_prompts_than_dimensions_are_never_orthogonal() -> None:
    with pytest.raises(InputError, match="at most 4 prompts, as many as dimensions, got 5"):
        text.orthogonal(np.ones((5, 4), np.float32), 0)


@given(count=st.integers(2, 40), seed=st.integers(0, 2**32 - 1))
def test_permuted_text_leaves_no_prompt_in_its_place(count: int, seed: int) -> None:
    rows = np.arange(1, count + 1, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    shuffled = text.permuted(rows, seed)
    assert (shuffled != rows).any(axis=1).all()
    np.testing.assert_array_equal(np.sort(shuffled[:, 0]), rows[:, 0])


def test_a_single_prompt_is_permuted_to_itself() -> None:
    rows = prompts(count=1)
    np.testing.assert_array_equal(text.permuted(rows, 3), rows)


def test_shrunk_prompts_keep_their_mean_and_a_share_of_their_distances() -> None:
    rows = prompts()
    closer = text.shrunk(rows, share=0.3)
    assert closer.dtype == np.float32
    np.testing.assert_allclose(closer.mean(axis=0), rows.mean(axis=0), atol=1e-6)
    apart, less = (np.linalg.norm(some[:, None] - some, axis=2) for some in (rows, closer))
    np.testing.assert_allclose(less, 0.3 * apart, atol=1e-5)
    np.testing.assert_array_equal(text.shrunk(rows, share=1), rows)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"text.share: must be above 0 and at most 1, got"):
        text.shrunk(prompts(), share=share)
