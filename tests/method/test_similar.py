"""The most similar rows, compared with all similarities in float64."""

import numpy as np
import pytest

from fused_clip.method.similar import SimilarRows


def cosines(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    return (queries @ rows.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(rows, axis=1))


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_a_narrow_cone(seed: int) -> None:
    """As CLIP's embeddings: of any length, all similar, so that float32 products are close."""
    rng = np.random.default_rng(seed)
    rows = (5 + rng.normal(scale=0.01, size=(3000, 64))) * rng.uniform(0.1, 10, size=(3000, 1))
    queries = 5 + rng.normal(scale=0.01, size=(40, 64))
    rows, queries = rows.astype(np.float32), queries.astype(np.float32)
    found, similar = SimilarRows(rows).nearest(queries, 3)
    expected = cosines(queries, rows)
    np.testing.assert_array_equal(found, np.argsort(-expected, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(similar, -np.sort(-expected, axis=1)[:, :3], atol=1e-12)


def test_of_equal_rows_the_first_comes_first_and_lengths_do_not_count() -> None:
    rows = np.array([[0, 1], [9, 0], [1, 0], [1, 0], [0, -2]], np.float32)
    found, similar = SimilarRows(rows).nearest(np.array([[3, 0], [0, -1]], np.float32), 3)
    assert found.tolist() == [[1, 2, 3], [4, 1, 2]]
    assert similar.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_fewer_rows_than_are_asked_for_and_no_queries() -> None:
    search = SimilarRows(np.eye(2, dtype=np.float32))
    assert search.nearest(np.ones((1, 2), np.float32), 5)[0].tolist() == [[0, 1]]
    assert [part.shape for part in search.nearest(np.empty((0, 2), np.float32), 5)] == [(0, 2), (0, 2)]
