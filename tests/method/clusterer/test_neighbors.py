import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from fused_clip.method.clusterer import neighbors as neighbors_module
from fused_clip.method.clusterer.neighbors import nearest_neighbors


def squared_distances(rows):
    rows = rows.astype(np.float64)
    return ((rows[:, None] - rows) ** 2).sum(axis=-1)


@st.composite
def grids(draw):
    """Small integer grids, full of ties and duplicates, some with rows far away."""
    n_rows, n_features = draw(st.integers(2, 60)), draw(st.integers(1, 4))
    rows = draw(arrays(np.float64, (n_rows, n_features), elements=st.integers(-3, 3)))
    far = draw(arrays(bool, n_rows))
    rows = rows + draw(st.sampled_from([0, 100, 10_000])) * far[:, None]
    return rows.astype(draw(st.sampled_from([np.float32, np.float64])))


@settings(max_examples=150, deadline=None)
@given(grids(), st.data())
def test_no_row_left_out_is_nearer(rows, data):
    n_neighbors = data.draw(st.integers(1, len(rows)))
    neighbors = nearest_neighbors(rows, n_neighbors)
    squared = squared_distances(rows)
    index = np.arange(len(rows))
    assert neighbors.shape == (len(rows), n_neighbors)
    assert all(len(set(row)) == n_neighbors for row in neighbors.tolist())
    assert (neighbors == index[:, None]).any(axis=1).all()
    found = np.sort(squared[index[:, None], neighbors], axis=1)
    np.testing.assert_array_equal(found, np.sort(squared, axis=1)[:, :n_neighbors])


@pytest.mark.parametrize("offset", [0, 10, 1000, 100_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_however_far_the_groups_are(offset, dtype):
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 100)
    rows = (random.standard_normal((400, 24)) + offset * random.standard_normal((4, 24))[group]).astype(dtype)
    expected = np.argsort(squared_distances(rows), axis=1)[:, :7]
    np.testing.assert_array_equal(np.sort(nearest_neighbors(rows, 7)), np.sort(expected))


def test_leaves_the_rows_as_they_are():
    rows = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    before = rows.copy()
    nearest_neighbors(rows, 5)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(("spread", "share"), [(1, 0.05), (0.05, 0.75)])
def test_float64_decides_for_some_rows_between_few_candidates(monkeypatch, spread, share):
    """Rows that look like embeddings, in groups near each other or as far apart as fused text puts them."""
    searched, kneighbors = [], NearestNeighbors.kneighbors
    decided, nearest_of = [], neighbors_module._nearest_of

    def counted(self, X, **options):
        searched.append(len(X))
        return kneighbors(self, X, **options)

    def counted_too(candidates, queries, X, n_neighbors):
        decided.append(len(queries))
        return nearest_of(candidates, queries, X, n_neighbors)

    monkeypatch.setattr(NearestNeighbors, "kneighbors", counted)
    monkeypatch.setattr(neighbors_module, "_nearest_of", counted_too)
    random = np.random.default_rng(0)
    centers = random.standard_normal((10, 512))
    rows = centers[random.integers(0, 10, 3000)] + spread * random.standard_normal((3000, 512))
    nearest_neighbors(rows.astype(np.float32), 10)
    assert not searched
    assert sum(decided) < share * len(rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 2, 11, 300])
def test_the_distance_of_a_rank_is_that_of_sorted_distances(rank, dtype):
    rows = np.random.default_rng(0).standard_normal((300, 24)).astype(dtype) + 5
    expected = np.sort(squared_distances(rows), axis=1)[:, rank - 1] ** 0.5
    found = neighbors_module.neighbor_distances(rows[:120], rows, rank)
    np.testing.assert_allclose(found, expected[:120], rtol=1e-5, atol=1e-12)
