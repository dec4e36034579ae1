import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering, KMeans

from fused_clip.method.classifier import LinearProbe, NearestClassMean, Training
from fused_clip.method.clusterer import KeepClasses, SpectralClustering
from fused_clip.store.partitions import StoreMemory

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
    cached = StoreMemory(Shelf()).cache(run)

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


def kept(votes, **params):
    base = KMeans(**{"n_clusters": 3, "n_init": 1, "random_state": 0} | params)
    return KeepClasses(base, votes=votes)


def test_of_a_wrapper_the_inner_parameters_and_arrays_count(cluster):
    votes = np.arange(30) % 2
    assert cluster((kept(votes), ROWS), (kept(votes.copy()), ROWS))[0] == 1
    others = [kept(1 - votes), kept(votes, n_clusters=4), kept(votes, random_state=1)]
    assert cluster(*((one, ROWS) for one in others))[0] == 3
    assert cluster((KeepClasses(spectral(), votes=votes), ROWS))[0] == 1
    assert cluster((kept(votes, random_state=None), ROWS), (kept(votes, random_state=None), ROWS))[0] == 2


def test_the_code_of_the_method_counts(cluster, monkeypatch):
    assert cluster((spectral(), ROWS))[0] == 1
    assert cluster((spectral(), ROWS))[0] == 0
    monkeypatch.setattr("fused_clip.store.partitions.code_version", lambda modules: "other")
    assert cluster((spectral(), ROWS))[0] == 1


def test_functions_of_several_arrays_and_plain_values_are_remembered_too():
    calls = []

    def classify(classifier, train, targets, test, count, seed):
        calls.append(count)
        training = Training(train, count, targets=targets, random_state=seed)
        return classifier.fit(training).target_scores(test).values.argmax(axis=1)

    cached = StoreMemory(Shelf()).cache(classify)
    targets = np.arange(30) % 3
    given = [NearestClassMean(), ROWS, targets, ROWS[:7], 3, 0]
    first = cached(*given)
    np.testing.assert_array_equal(cached(*given), first)
    assert calls == [3]
    changes = [LinearProbe(), ROWS + 1, targets[::-1], ROWS[7:], 4, 1]
    for place, change in enumerate(changes):
        cached(*given[:place], change, *given[place + 1 :])
    assert len(calls) == 1 + len(changes)


def test_functions_do_not_share_what_they_remember():
    memory = StoreMemory(Shelf())
    assert memory.cache(lambda rows: rows.sum(axis=0))(ROWS).shape == (4,)

    def rows_of(rows):
        return rows.sum(axis=1)

    assert memory.cache(rows_of)(ROWS).shape == (30,)


def test_without_a_seed_nothing_is_remembered(cluster):
    assert cluster(*[(spectral(random_state=None), ROWS)] * 2)[0] == 2


def test_code_of_others_is_never_remembered(cluster):
    """Its source and its version may change, and the key would not."""

    class Mine(KMeans):
        pass

    assert Mine.__module__ == __name__
    assert cluster(*[(Mine(3, n_init=1, random_state=0), ROWS)] * 2)[0] == 2


def test_parameters_that_can_not_be_told_apart_are_never_remembered(cluster):
    """A large array is abbreviated when it is written out, and looks like others."""
    rows = np.random.default_rng(1).standard_normal((600, 4)).astype(np.float32)
    starts = [np.delete(rows, slice(kept, kept + 50), axis=0)[:400] for kept in (100, 200)]
    assert repr(starts[0]) == repr(starts[1])
    calls, (first, second) = cluster(
        *((KMeans(400, init=start, n_init=1, random_state=0), rows) for start in starts)
    )
    assert calls == 2
    assert (first != second).any()
    parameters = {"metric": lambda x: x @ x.T, "linkage": "average"}
    assert cluster(*[(AgglomerativeClustering(3, **parameters), ROWS)] * 2)[0] == 2
