import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.method.clusterer import cell_labels, probes
from fused_clip.method.clusterer.approximate import approximate_neighbors
from fused_clip.method.clusterer.coordinates import Coordinates
from fused_clip.method.clusterer.neighbors import nearest_neighbors
from tests.method.clusterer.test_neighbors import grids, squared_distances


def mixture(n_rows, n_features=32, groups=12, seed=0):
    """Overlapping groups whose variance is in few directions, as that of embeddings is."""
    random = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, n_features + 1))
    centers = scale * random.standard_normal((groups, n_features))
    rows = centers[random.integers(0, groups, n_rows)] + scale * random.standard_normal((n_rows, n_features))
    return rows.astype(np.float32)


def recall(found, exact):
    return np.mean([len(set(ours) & set(theirs)) for ours, theirs in zip(found, exact, strict=True)]) / len(
        exact[0]
    )


def test_finds_nearly_all_neighbours():
    rows = mixture(20_000)
    assert recall(approximate_neighbors(rows, 10, seed=0), nearest_neighbors(rows, 10)) > 0.95


def test_compares_a_small_part_of_the_pairs(monkeypatch):
    pairs, scores = [], Coordinates.scores

    def counted(asking, others):
        pairs.append(len(asking.lead) * len(others.lead))
        return scores(asking, others)

    monkeypatch.setattr(Coordinates, "scores", counted)
    monkeypatch.setattr(probes, "FEWEST", 10)
    monkeypatch.setattr(probes, "MOST", 10)
    counts = {}
    for n_rows in (10_000, 20_000):
        pairs.clear()
        approximate_neighbors(mixture(n_rows), 10, seed=0)
        counts[n_rows] = sum(pairs)
    assert counts[20_000] < 0.3 * 20_000**2
    assert counts[20_000] < 2.2 * counts[10_000]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_seed_decides_everything(monkeypatch, threads):
    monkeypatch.setattr(probes, "FEWEST", 5)
    monkeypatch.setattr(probes, "MOST", 5)
    rows = mixture(6000)
    expected = np.sort(approximate_neighbors(rows, 10, seed=5))
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        np.testing.assert_array_equal(np.sort(approximate_neighbors(rows, 10, seed=5)), expected)
    finally:
        faiss.omp_set_num_threads(before)
    assert (np.sort(approximate_neighbors(rows, 10, seed=6)) != expected).any()


@given(grids(), st.data())
def test_small_sets_are_exact(rows, data):
    n_neighbors = data.draw(st.integers(1, len(rows)))
    neighbors = approximate_neighbors(rows, n_neighbors, seed=0)
    index = np.arange(len(rows))
    assert all(len(set(row)) == n_neighbors for row in neighbors.tolist())
    assert (neighbors == index[:, None]).any(axis=1).all()
    squared = squared_distances(rows)
    found = np.sort(squared[index[:, None], neighbors], axis=1)
    expected = np.sort(squared, axis=1)[:, :n_neighbors]
    # float32 may take one of two rows that are equally far but for rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * squared.max())


def test_rows_whose_cells_hold_too_few_get_the_nearest(monkeypatch):
    monkeypatch.setattr(cell_labels, "CELL_ROWS", 4)
    monkeypatch.setattr(probes, "FEWEST", 2)
    monkeypatch.setattr(probes, "MOST", 2)
    rows = mixture(400)
    neighbors = approximate_neighbors(rows, 100, seed=0)
    np.testing.assert_array_equal(np.sort(neighbors), np.sort(nearest_neighbors(rows, 100)))


def test_many_duplicates():
    points = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    group = np.arange(6000) % 3
    neighbors = approximate_neighbors(points[group], 10, seed=0)
    assert (group[neighbors] == group[:, None]).all()
    assert (neighbors == np.arange(6000)[:, None]).any(axis=1).all()
