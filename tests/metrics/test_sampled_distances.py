import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from fused_clip.metrics import sampled_distances as module
from fused_clip.metrics.sampled_distances import distance_totals


def by_differences(rows, clusters, count, sample):
    distances = np.sqrt(((rows[sample][:, None].astype(float) - rows) ** 2).sum(axis=-1))
    return np.stack([distances[:, clusters == own].sum(axis=1) for own in range(count)], axis=1)


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 6), st.sampled_from([np.float32, np.float64]), st.integers(0, 99))
def test_sums_are_those_of_differences(n_rows, width, kind, seed):
    random = np.random.default_rng(seed)
    rows = random.integers(-2, 3, (n_rows, width)).astype(kind)  # with many equal rows
    clusters, sample = random.integers(0, 3, n_rows), random.integers(0, n_rows, 9)
    ours = distance_totals(rows, clusters, 3, sample)
    np.testing.assert_allclose(ours, by_differences(rows, clusters, 3, sample), rtol=1e-5, atol=1e-5)


def test_equal_rows_are_exactly_0_apart():
    rows = np.repeat(np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32), 50, axis=0)
    rows[::2, 0] = 0.0
    rows[1::2, 0] = -0.0
    assert not distance_totals(rows, np.zeros(50, int), 1, np.arange(5)).any()


def test_many_equal_rows_take_no_memory_for_their_pairs():
    rows = np.random.default_rng(0).normal(size=(4_000, 64)).astype(np.float32)
    rows[::2] = 0
    clusters, sample = np.arange(4_000) % 3, np.arange(2_000)
    tracemalloc.start()
    ours = distance_totals(rows, clusters, 3, sample)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the million pairs of equal rows alone would take 256 MB
    few = np.array([0, 1, 2])
    np.testing.assert_allclose(ours[few], by_differences(rows, clusters, 3, few), rtol=1e-5)


def test_rows_of_one_hash_need_not_be_equal(monkeypatch):
    monkeypatch.setattr(module, "_hashes", lambda rows: np.zeros(len(rows), np.uint64))
    rows = np.random.default_rng(0).normal(size=(30, 4))
    rows[3] = rows[7]
    clusters, sample = np.arange(30) % 2, np.array([3, 7, 11])
    ours = distance_totals(rows, clusters, 2, sample)
    np.testing.assert_allclose(ours, by_differences(rows, clusters, 2, sample))


@pytest.mark.parametrize("spread", [1, 1e-4])
def test_of_more_rows_than_a_task(spread):
    random = np.random.default_rng(0)
    group = random.integers(0, 4, 40_000)
    rows = (random.normal(size=(4, 8))[group] + spread * random.normal(size=(40_000, 8))).astype(np.float32)
    sample = random.choice(40_000, 600, replace=False)
    ours = distance_totals(rows, group, 4, sample)
    np.testing.assert_allclose(ours[:20], by_differences(rows, group, 4, sample[:20]), rtol=2e-4)
    np.testing.assert_allclose(ours[-20:], by_differences(rows, group, 4, sample[-20:]), rtol=2e-4)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    random = np.random.default_rng(0)
    rows, clusters = random.normal(size=(70_000, 32)).astype(np.float32), random.integers(0, 5, 70_000)
    sample = np.arange(0, 70_000, 200)
    found = []
    for count in (1, 4):
        monkeypatch.setattr(module.threads, "count", lambda count=count: count)
        with threadpool_limits(count):
            found.append(distance_totals(rows, clusters, 5, sample))
    np.testing.assert_array_equal(*found)
