"""Distances to the nearest training images: by hand, and what they do not depend on."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from fused_clip.guarantee.novelty import novelty
from fused_clip.model.calibration_rows import NEIGHBORS
from fused_clip.support.arrays import FloatArray


def at(*degrees: float) -> FloatArray:
    """Rows of length 3 at angles in the plane."""
    angles = np.radians(degrees)
    return np.float32(3) * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def drawn(count: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32) + 1


def test_it_is_the_mean_of_the_five_nearest_cosine_distances() -> None:
    reference = at(0, 0, 0, 60, 60, 180, 180)
    expected = [(0 + 0 + 0 + 0.5 + 0.5) / 5, (1 + 1 + 1 + 2 + 1.5) / 5]
    np.testing.assert_allclose(novelty(at(0, 180), at(0, 0, 0, 60, 60)), [expected[0], (2 * 3 + 1.5 * 2) / 5])
    assert novelty(at(0), reference)[0] == pytest.approx(expected[0], abs=1e-6)


def test_with_fewer_reference_images_than_five_all_count() -> None:
    np.testing.assert_allclose(novelty(at(0), at(60, 180)), [1.25])


def test_it_is_that_of_a_search_by_scikit_learn() -> None:
    rows, reference = drawn(40, 0), drawn(300, 1)
    near = NearestNeighbors(n_neighbors=NEIGHBORS, metric="cosine").fit(reference).kneighbors(rows)[0]
    np.testing.assert_allclose(novelty(rows, reference), near.mean(axis=1), atol=2e-6)


def test_it_depends_on_no_other_image_of_the_batch_nor_on_lengths() -> None:
    rows, reference = drawn(1_500, 0), drawn(300, 1)
    whole = novelty(rows, reference)
    parts = np.concatenate([novelty(rows[start : start + 7], reference) for start in range(0, 1_500, 7)])
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_allclose(novelty(100 * rows, reference), whole, atol=2e-6)


def test_images_far_from_all_reference_images_are_more_novel() -> None:
    reference = drawn(300, 1)
    assert novelty(drawn(50, 2), reference).max() < novelty(-drawn(50, 2), reference).min()


def test_of_no_image_there_is_none() -> None:
    assert novelty(np.empty((0, 16), np.float32), drawn(10, 0)).shape == (0,)
