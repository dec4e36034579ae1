import numpy as np
import pytest
from sklearn.cluster import KMeans

from fused_clip import partition
from fused_clip.clusterer import SpectralClustering
from fused_clip.partition import PartitionMemory

ROWS = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)


class Shelf:
    """A store that keeps arrays in a dictionary."""

    def __init__(self):
        self.kept = {}

    def cached(self, kind, key, compute):
        name = (kind, *sorted(key.items()))
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]


@pytest.fixture
def cluster():
    """Clusters by a memory, and counts how often it really does."""

    def run(clusterer, rows):
        run.calls += 1
        return clusterer.fit_predict(rows)

    run.calls = 0
    cached = PartitionMemory(Shelf()).cache(run)

    def calls_of(*pairs):
        run.calls = 0
        found = [cached(clusterer, rows) for clusterer, rows in pairs]
        return run.calls, found

    return calls_of


def spectral(**params):
    return SpectralClustering(**{"n_clusters": 3, "random_state": 0} | params)


def test_the_same_is_computed_once(cluster):
    calls, (first, second) = cluster((spectral(), ROWS), (spectral(), ROWS.copy()))
    assert calls == 1
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [{"approximate": True}, {"approximate": False}, {"n_neighbors": 9}, {"random_state": 1}, {"n_init": 3}],
)
def test_each_parameter_counts(cluster, change):
    assert cluster((spectral(), ROWS), (spectral(**change), ROWS))[0] == 2


def test_rows_and_class_count(cluster):
    kmeans = KMeans(3, n_init=1, random_state=0)
    assert cluster((spectral(), ROWS), (spectral(), ROWS + 1), (kmeans, ROWS))[0] == 3


def test_the_version_of_the_method_counts(cluster, monkeypatch):
    assert cluster((spectral(), ROWS))[0] == 1
    monkeypatch.setattr(partition, "METHOD_VERSION", -1)
    assert cluster((spectral(), ROWS))[0] == 1


def test_without_a_seed_nothing_is_remembered(cluster):
    assert cluster(*[(spectral(random_state=None), ROWS)] * 2)[0] == 2
