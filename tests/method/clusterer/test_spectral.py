import numpy as np
import pytest
from scipy.sparse import block_diag, csr_array, eye_array
from scipy.sparse.csgraph import connected_components, laplacian
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fused_clip.method.clusterer import SpectralClustering, cell_labels, neighbors, probes, spectral
from fused_clip.method.clusterer.approximate import CellNeighbors
from fused_clip.method.clusterer.neighbors import nearest_neighbors, neighbor_affinity
from fused_clip.method.clusterer.spectral import spectral_embedding
from fused_clip.support.errors import InputError
from tests.method.clusterer.test_approximate import mixture


@pytest.fixture(params=["exact", "approximate"])
def approximate(request, monkeypatch):
    """Whether the graph is approximate; cells are so small then that neighbours may be missed."""
    monkeypatch.setattr(cell_labels, "CELL_ROWS", 30)
    monkeypatch.setattr(probes, "FEWEST", 2)
    monkeypatch.setattr(probes, "MOST", 2)
    return request.param == "approximate"


@parametrize_with_checks([SpectralClustering(n_clusters=3, random_state=0)])
def test_keeps_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


def test_eigenvalues_are_those_of_the_dense_laplacian(rows):
    model = SpectralClustering(20, n_init=1, random_state=0).fit(rows)
    dense = laplacian(model.affinity_matrix_, normed=True).toarray()
    np.testing.assert_allclose(1 - model.eigenvalues_, np.linalg.eigvalsh(dense)[:20], atol=1e-8)


def test_embedding_spans_the_eigenvectors(digits):
    affinity = neighbor_affinity(digits[0], 10)
    component = np.zeros(len(digits[0]), dtype=int)
    values, embedding = spectral_embedding(affinity, component, 12, np.random.RandomState(0))
    weights = affinity.toarray()
    np.fill_diagonal(weights, 0)
    degrees = weights.sum(axis=1)
    # Rows scaled by D^-1/2, eigenvectors of D^-1/2 W D^-1/2 solve W v = value D v.
    np.testing.assert_allclose(weights @ embedding, degrees[:, None] * embedding * values, atol=1e-9)
    np.testing.assert_allclose(embedding.T * degrees @ embedding, np.eye(12), atol=1e-9)


def test_finds_the_groups_that_text_makes(digits, approximate):
    projected, classes = digits
    rows = projected + 3 * np.random.default_rng(1).standard_normal((10, 64))[classes]
    model = SpectralClustering(10, approximate=approximate, random_state=0).fit(rows)
    assert model.n_connected_components_ == 10
    np.testing.assert_array_equal(model.eigenvalues_, np.ones(10))
    assert adjusted_rand_score(classes, model.labels_) == 1


def test_a_seed_decides_everything(digits, approximate):
    model = SpectralClustering(8, approximate=approximate, random_state=3)
    first, second = (clone(model).fit(digits[0]) for _ in range(2))
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.eigenvalues_, second.eigenvalues_)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(digits, scale):
    rows = digits[0][:600]
    plain, scaled = (SpectralClustering(5, random_state=0).fit(X) for X in (rows, rows * scale))
    assert abs(plain.affinity_matrix_ - scaled.affinity_matrix_).max() == 0
    assert adjusted_rand_score(plain.labels_, scaled.labels_) == 1


def test_components_weakly_joined_are_found():
    random = np.random.default_rng(0)
    blocks = [neighbor_affinity(random.standard_normal((400, 8)), 10) for _ in range(6)]
    graph = block_diag(blocks).tolil()
    for start in range(0, 2000, 400):
        graph[start, start + 400] = graph[start + 400, start] = 0.5
    component = np.zeros(2400, dtype=int)
    values, _ = spectral_embedding(csr_array(graph), component, 8, np.random.RandomState(0))
    assert (values > 0.999).sum() == 6


def test_more_components_than_clusters_join_the_near_ones(approximate):
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [0, 9], [100, 0], [100, 9], [0, 100]])
    group = np.repeat(np.arange(5), [60, 20, 60, 60, 20])
    rows = centres[group] + random.random((220, 2))
    model = SpectralClustering(3, approximate=approximate, random_state=0)
    with pytest.warns(UserWarning, match="5 connected components for n_clusters=3"):
        model.fit(rows)
    assert adjusted_rand_score(model.labels_, np.array([0, 0, 1, 1, 2])[group]) == 1
    np.testing.assert_array_equal(model.eigenvalues_, np.ones(3))
    np.testing.assert_array_equal(model.predict(centres + 0.5), model.labels_[[0, 60, 80, 140, 200]])


def test_small_components_beside_a_large_one(approximate):
    random = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [400, 12, 12])
    rows = np.array([0, 50, 100])[group][:, None] + random.standard_normal((424, 4))
    model = SpectralClustering(3, approximate=approximate, random_state=0).fit(rows)
    assert adjusted_rand_score(model.labels_, group) == 1


def test_isolated_rows_are_components_of_their_own():
    crowd = neighbor_affinity(np.random.default_rng(0).random((40, 2)), 10)
    graph = csr_array(block_diag([crowd, eye_array(2)]))
    component = connected_components(graph)[1]
    values, embedding = spectral_embedding(graph, component, 4, np.random.RandomState(0))
    np.testing.assert_array_equal(values[:3], 1)
    assert values[3] < 0.999
    assert np.count_nonzero(embedding[-2:]) == 2
    assert np.isfinite(embedding).all()


def test_duplicate_rows_share_a_cluster(approximate):
    points = np.random.default_rng(0).standard_normal((6, 8))
    model = SpectralClustering(6, approximate=approximate, random_state=0)
    model.fit(np.repeat(points, 30, axis=0))
    assert adjusted_rand_score(model.labels_, np.repeat(np.arange(6), 30)) == 1
    np.testing.assert_array_equal(model.affinity_matrix_.diagonal(), 1)


def test_constant_rows_and_features(approximate):
    model = SpectralClustering(3, approximate=approximate, random_state=0)
    model.fit(np.ones((300, 4), dtype=np.float32))
    assert model.labels_.shape == (300,)
    assert np.isfinite(model.eigenvalues_).all()
    group = np.repeat([0.0, 1.0], 30)
    random = np.random.default_rng(0).random(60) / 10
    rows = np.column_stack([np.full(60, 7), group + random])
    labels = SpectralClustering(2, approximate=approximate, random_state=0).fit_predict(rows)
    assert adjusted_rand_score(labels, group) == 1


@pytest.mark.parametrize(("n_clusters", "n_neighbors"), [(1, 12), (12, 12), (12, 2), (5, 12)])
def test_extreme_counts(n_clusters, n_neighbors):
    rows = np.random.default_rng(0).random((12, 3))
    labels = SpectralClustering(n_clusters, n_neighbors=n_neighbors, random_state=0).fit_predict(rows)
    assert len(np.unique(labels)) == n_clusters


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_neighbors": 10}, r"n_neighbors: must be .* \(n_samples = 8\), got 10"),
        ({"n_neighbors": 1}, "n_neighbors: must be at least 2"),
        ({"n_clusters": 9}, r"n_clusters: must be .* \(n_samples = 8\), got 9"),
        ({"n_clusters": 0}, "n_clusters: must be at least 1"),
        ({"approximate": "often"}, "approximate: must be True, False or 'auto', got 'often'"),
    ],
)
def test_parameters_out_of_range_are_refused(params, message):
    model = SpectralClustering(**{"n_clusters": 2, "n_neighbors": 3} | params)
    with pytest.raises(InputError, match=message):
        model.fit(np.random.default_rng(0).random((8, 2)))


def unsorted_neighbors(rows, k):
    """Exact neighbours, as if all rows were in one cell."""
    return CellNeighbors(
        nearest_neighbors(rows, k), np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64), 1.0
    )


@pytest.mark.parametrize(("choice", "approximates"), [(0, False), (np.False_, False), (np.True_, True)])
def test_a_choice_is_its_truth(monkeypatch, choice, approximates):
    calls = []
    monkeypatch.setattr(
        spectral,
        "cell_neighbors",
        lambda rows, k, seed: calls.append(seed) or unsorted_neighbors(rows, k),
    )
    rows = np.random.default_rng(0).random((30, 3))
    SpectralClustering(2, approximate=choice, random_state=0).fit(rows)
    assert bool(calls) == approximates


@pytest.mark.parametrize(("limit", "approximates"), [(50, True), (100, False)])
def test_approximates_by_itself_beyond_a_number_of_rows(monkeypatch, limit, approximates):
    calls = []
    monkeypatch.setattr(spectral, "EXACT_ROWS", limit)
    monkeypatch.setattr(
        spectral,
        "cell_neighbors",
        lambda rows, k, seed: calls.append(seed) or unsorted_neighbors(rows, k),
    )
    SpectralClustering(2, random_state=0).fit(np.random.default_rng(0).random((100, 3)))
    assert bool(calls) == approximates


def test_rows_alone_are_eigenvectors_of_length_one():
    """Two rows joined to none, and a pair: three components, of which the pair has two eigenvalues."""
    graph = csr_array(np.array([[0, 2.0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    values, embedding = spectral_embedding(graph, np.array([0, 0, 1, 2]), 3, np.random.RandomState(0))
    np.testing.assert_allclose(values, [1, 1, 1])
    half = 1 / np.sqrt(2) / np.sqrt(2)  # a unit vector, over the square root of the degree
    np.testing.assert_allclose(
        np.abs(embedding), [[half, 0, 0], [half, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-12
    )


def test_as_many_components_as_eigenvalues_are_zeros():
    rows = np.repeat([[0.0, 0], [9, 9], [0, 9]], 5, axis=0) + 0.01 * np.random.default_rng(0).normal(
        size=(15, 2)
    )
    model = SpectralClustering(2, n_neighbors=3, random_state=0)
    np.testing.assert_array_equal(model.laplacian_eigenvalues(rows, 3), np.zeros(3))
    four = model.laplacian_eigenvalues(rows, 4)
    np.testing.assert_allclose(four[:3], 0, atol=1e-12)
    assert four[3] > 0.1


@pytest.fixture
def groups():
    """4,000 rows of 6 groups that overlap a little."""
    return mixture(4_000, n_features=40, groups=6, seed=2)


def test_the_approximate_partition_is_the_exact_one(groups):
    exact, approximate = (
        SpectralClustering(6, approximate=choice, random_state=0).fit(groups) for choice in (False, True)
    )
    assert adjusted_rand_score(exact.labels_, approximate.labels_) > 0.98
    assert exact.graph_recall_ == 1
    assert 0.97 < approximate.graph_recall_ <= 1
    edges = exact.affinity_matrix_ > 0
    assert edges.multiply(approximate.affinity_matrix_ > 0).nnz > 0.95 * edges.nnz
    np.testing.assert_allclose(approximate.eigenvalues_, exact.eigenvalues_, atol=0.01)


def test_filtered_eigenvectors_give_the_same_partition(groups, monkeypatch):
    model = SpectralClustering(6, approximate=True, random_state=0)
    expected = model.fit_predict(groups)
    monkeypatch.setattr(spectral, "_FILTERED_ROWS", 100)
    assert adjusted_rand_score(model.fit_predict(groups), expected) > 0.99


def test_filtered_eigenvectors_of_several_components(monkeypatch):
    monkeypatch.setattr(spectral, "_FILTERED_ROWS", 100)
    rows = np.vstack([mixture(1_500, groups=3, seed=place) + 100 * place for place in range(2)])
    model = SpectralClustering(6, approximate=True, random_state=0).fit(rows)
    assert model.n_connected_components_ == 2
    assert (model.eigenvalues_[:2] > 1 - 1e-5).all()
    assert len(np.unique(model.labels_[:1_500])) == len(np.unique(model.labels_[1_500:])) == 3


def test_starts_of_kmeans_on_a_sample(groups, monkeypatch):
    model = SpectralClustering(6, approximate=True, random_state=0)
    expected = model.fit_predict(groups)
    monkeypatch.setattr(spectral, "_KMEANS_ROWS", 1_000)
    assert adjusted_rand_score(model.fit_predict(groups), expected) > 0.98


def test_a_memory_map_is_clustered_and_predicted_as_its_rows(groups, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", groups)
    monkeypatch.setattr(neighbors, "_PART", 700)
    here, there = (
        SpectralClustering(6, approximate=True, random_state=0).fit(rows)
        for rows in (groups, np.load(tmp_path / "rows.npy", mmap_mode="r"))
    )
    np.testing.assert_array_equal(here.labels_, there.labels_)
    np.testing.assert_array_equal(here.predict(groups[:50] + 0.01), there.predict(groups[:50] + 0.01))


def test_components_of_a_memory_map_are_joined(tmp_path):
    np.save(tmp_path / "rows.npy", np.repeat(np.eye(5, 8, dtype=np.float32), 100, axis=0))
    with pytest.warns(UserWarning, match="5 connected components"):
        model = SpectralClustering(3, approximate=True, random_state=0).fit(
            np.load(tmp_path / "rows.npy", mmap_mode="r")
        )
    assert all(len(np.unique(part)) == 1 for part in np.split(model.labels_, 5))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.complex64])
def test_a_memory_map_of_another_type(tmp_path, dtype):
    np.save(tmp_path / "rows.npy", np.ones((500, 4), dtype=dtype))
    with pytest.raises(InputError, match=f"X: a memory map must be of float16.*{np.dtype(dtype).name}"):
        SpectralClustering(2, approximate=True).fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
