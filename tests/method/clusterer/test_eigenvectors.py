import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, laplacian
from sklearn.metrics import adjusted_rand_score

from experiments.benchmarks.mixture import mixture as experiment_mixture
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.clusterer.approximate import cell_neighbors
from fused_clip.method.clusterer.eigenvectors import leading_eigenvectors
from fused_clip.method.clusterer.neighbors import symmetrised
from fused_clip.support import threads
from tests.method.clusterer.test_approximate import mixture


@pytest.fixture(scope="module")
def graph():
    """A connected graph of 3,000 rows without its diagonal, and the cells of its rows."""
    found = cell_neighbors(mixture(3_000, groups=6), 10, seed=0)
    weights = symmetrised(found.neighbors, np.float32)
    weights.setdiag(0)
    weights.eliminate_zeros()
    assert connected_components(weights)[0] == 1
    return weights, found.cells


@pytest.fixture(scope="module")
def exact(graph):
    """All eigenvalues and eigenvectors of its normalised Laplacian."""
    return np.linalg.eigh(laplacian(graph[0].astype(np.float64), normed=True).toarray())


@pytest.mark.parametrize("count", [1, 6, 12])
def test_spans_the_eigenvectors_of_the_laplacian(graph, exact, count):
    weights, cells = graph
    values, vectors = leading_eigenvectors(weights, count, cells, np.random.RandomState(0))
    expected, directions = exact
    np.testing.assert_allclose(1 - values, expected[:count], atol=1e-4)
    assert values[0] == 1
    degrees = weights.sum(axis=1)
    # The last ones converge slowest: there the gap to the next decides, which a block of guards widens.
    assert np.degrees(subspace_angles(vectors * np.sqrt(degrees)[:, None], directions[:, :count])[0]) < 3
    np.testing.assert_allclose(vectors.T @ (degrees[:, None] * vectors), np.eye(count), atol=1e-3)


def test_few_cells_leave_guesses_to_chance(graph, exact):
    weights, _ = graph
    values, _ = leading_eigenvectors(weights, 6, np.zeros(3_000, dtype=int), np.random.RandomState(0))
    np.testing.assert_allclose(1 - values, exact[0][:6], atol=1e-3)


def test_threads_change_no_bit(graph, monkeypatch):
    weights, cells = graph
    found = []
    for number in (1, 3):
        monkeypatch.setattr(threads, "count", lambda number=number: number)
        found.append(leading_eigenvectors(weights, 6, cells, np.random.RandomState(0)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_groups_that_are_nearly_apart():
    """The filter then makes the leading vectors millions of times as long as the others."""
    rows = np.vstack([mixture(1_000, groups=1, seed=place) + 3 * place for place in range(3)])
    found = cell_neighbors(rows, 10, seed=0)
    weights = symmetrised(found.neighbors, np.float32).tolil()
    place = np.argsort(found.order)
    for one, other in ((0, 1_000), (1_000, 2_000)):
        weights[place[one], place[other]] = weights[place[other], place[one]] = 0.5
    weights.setdiag(0)
    weights = csr_array(weights)
    values, vectors = leading_eigenvectors(weights, 3, found.cells, np.random.RandomState(0))
    expected = np.linalg.eigvalsh(laplacian(weights.astype(np.float64), normed=True).toarray())[:3]
    np.testing.assert_allclose(1 - values, expected, atol=1e-4)
    group = found.order // 1_000
    means = np.array([vectors[group == one].mean(axis=0) for one in range(3)])
    apart = np.linalg.norm(means[:, None] - means, axis=2)[~np.eye(3, dtype=bool)].min()
    assert max(vectors[group == one].std(axis=0).max() for one in range(3)) < 0.2 * apart


@pytest.mark.slow
def test_no_eigenvector_is_missed_where_many_eigenvalues_are_nearly_one() -> None:
    """Of these rows the graph of the cells alone gave 19 of 20: two groups shared a cluster."""
    rows, group = experiment_mixture(100_000, spread=1.0, seed=3)
    model = SpectralClustering(20, approximate=True, random_state=0).fit(rows)
    assert model.eigenvalues_[-1] > 0.99
    assert adjusted_rand_score(group, model.labels_) > 0.999
