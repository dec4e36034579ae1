import numpy as np
import pytest

from fused_clip import text


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
