import numpy as np
import pytest

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


def test_fusion_keeps_the_images_dtype() -> None:
    rows = np.ones((2, 3), dtype=np.float32)
    assert fusion.mean()(rows, rows.astype(np.float64)).dtype == np.float32


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_the_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=r"fusion\.alpha: must be between 0 and 1"):
        fusion.weighted(alpha)


def test_normalising_leaves_zero_rows() -> None:
    np.testing.assert_allclose(fusion.l2_normalized(np.array([[3.0, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])
