import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as peers
from threadpoolctl import threadpool_limits

from fused_clip.metrics import silhouette as module
from fused_clip.metrics.silhouette import silhouette, silhouette_samples
from fused_clip.support.errors import InputError


@st.composite
def clustered(draw):
    """Rows on a grid, with ties and duplicates, in 2 to n - 1 clusters of any size."""
    n_rows, n_features = draw(st.integers(3, 40)), draw(st.integers(1, 5))
    rows = draw(arrays(np.float64, (n_rows, n_features), elements=st.integers(-20, 20)))
    labels = draw(arrays(np.int64, n_rows, elements=st.integers(0, 6)))
    labels[:3] = [0, 0, 1]
    return rows / 7 + draw(st.sampled_from([0, 50])), labels


def overlapping(sizes, seed=0):
    """Clusters of the given sizes, numbered from 5 on, a standard deviation apart."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).standard_normal((sum(sizes), 4)) + labels[:, None], labels + 5


def by_definition(rows, labels):
    """Silhouettes from differences of coordinates, and which of them are more than rounding."""
    distances = np.sqrt(((rows[:, None] - rows) ** 2).sum(axis=-1))
    nearest = np.full(len(rows), np.inf)
    within = np.zeros(len(rows))
    for cluster in np.unique(labels):
        inside = labels == cluster
        within[inside] = distances[inside][:, inside].sum(axis=1) / max(inside.sum() - 1, 1)
        nearest[~inside] = np.minimum(nearest[~inside], distances[~inside][:, inside].mean(axis=1))
    largest = np.maximum(within, nearest)
    alone = np.bincount(labels)[labels] == 1
    values = np.where(alone | (largest == 0), 0, (nearest - within) / np.where(largest > 0, largest, 1))
    return values, largest > 1e-3


@settings(deadline=None)
@given(clustered())
def test_each_row_as_it_is_defined(sample):
    rows, labels = sample
    expected, sure = by_definition(rows, labels)
    ours = silhouette_samples(rows, labels)
    np.testing.assert_allclose(ours[sure], expected[sure], atol=1e-4)
    assert (np.abs(ours) <= 1).all()


@settings(deadline=None)
@given(clustered(), st.data())
def test_rows_of_a_sample_are_compared_with_all(sample, data):
    rows, labels = sample
    chosen = data.draw(arrays(np.int64, 5, elements=st.integers(0, len(rows) - 1)))
    expected, sure = by_definition(rows, labels)
    ours = silhouette_samples(rows, labels, chosen)
    np.testing.assert_allclose(ours[sure[chosen]], expected[chosen][sure[chosen]], atol=1e-4)


@pytest.mark.parametrize("offset", [0, 20, 1000])
@pytest.mark.parametrize("spread", [1, 1e-3])
def test_in_float32(offset, spread):
    """Two clusters a group, groups apart: as narrow as a weighted fusion with little image makes them."""
    random = np.random.default_rng(0)
    group = random.integers(0, 5, 3000)
    labels = 2 * group + random.integers(0, 2, 3000)
    rows = offset / 10 + random.standard_normal((5, 64))[group]
    rows += spread * (random.standard_normal((10, 64))[labels] + random.standard_normal((3000, 64)))
    rows = rows.astype(np.float32)
    expected = peers.silhouette_samples(rows.astype(np.float64), labels)
    assert silhouette(rows, labels).value == pytest.approx(expected.mean(), abs=1e-4)
    chosen = np.arange(0, 3000, 7)
    np.testing.assert_allclose(
        silhouette_samples(rows, labels, chosen).mean(), expected[chosen].mean(), atol=1e-4
    )


def test_of_more_rows_than_a_block_and_a_tile():
    rows, labels = overlapping([2500, 100, 2200])
    expected = peers.silhouette_samples(rows, labels)
    np.testing.assert_allclose(silhouette_samples(rows, labels), expected, atol=1e-9)
    chosen = np.arange(0, 4800, 5)
    np.testing.assert_allclose(silhouette_samples(rows, labels, chosen), expected[chosen], atol=1e-9)


def test_the_order_of_the_rows_does_not_matter():
    rows, labels = overlapping([300, 20, 80])
    shuffled = np.random.default_rng(1).permutation(400)
    ours = silhouette_samples(rows[shuffled], labels[shuffled])
    np.testing.assert_allclose(ours, silhouette_samples(rows, labels)[shuffled], atol=1e-12)


def test_exact_up_to_a_size_and_estimated_beyond_it():
    rows, labels = overlapping([700, 300])
    whole = silhouette(rows, labels, exact_rows=1000)
    assert whole.rows == 1000
    assert whole.interval == (whole.value, whole.value)
    estimate = silhouette(rows, labels, exact_rows=999, sampled_rows=200)
    assert estimate.rows == 200
    assert estimate.interval[0] < estimate.value < estimate.interval[1]
    assert estimate == silhouette(rows, labels, exact_rows=999, sampled_rows=200)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says():
    rows, labels = overlapping([1000, 400, 3, 1])
    truth = peers.silhouette_score(rows, labels)
    estimates = [silhouette(rows, labels, exact_rows=0, sampled_rows=150, seed=seed) for seed in range(200)]
    held = np.mean([low <= truth <= high for _, (low, high), _ in estimates])
    # 95 % of 200 draws, and three standard errors around it.
    assert 0.90 <= held <= 0.995
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(truth, abs=0.005)


def test_a_sample_has_two_rows_of_every_cluster_that_has_them():
    rows, labels = overlapping([500, 3, 1, 2])
    estimate = silhouette(rows, labels, exact_rows=0, sampled_rows=20)
    assert estimate.rows == 20
    assert silhouette(rows, labels, exact_rows=0, sampled_rows=3).rows == 2 + 2 + 1 + 2
    assert silhouette(rows, labels, exact_rows=0, sampled_rows=506).interval == pytest.approx(
        [peers.silhouette_score(rows, labels)] * 2
    )


def test_each_pair_of_rows_is_computed_once(monkeypatch):
    pairs = []

    def counted(points, block, tile, middle):
        shape = len(block), len(points.rows[tile])
        pairs.append(shape[0] * shape[1])
        return np.ones(shape)

    monkeypatch.setattr(module, "_distances", counted)
    rows, labels = overlapping([9000, 3000])
    silhouette_samples(rows, labels)
    assert sum(pairs) < 0.55 * 12_000**2
    assert max(pairs) <= 2**21


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
@pytest.mark.parametrize("exact_rows", [0, 10])
def test_where_it_is_undefined(labels, exact_rows):
    with pytest.raises(InputError, match="needs 2 to n - 1 clusters"):
        silhouette(np.eye(3), np.array(labels), exact_rows=exact_rows)


def test_of_identical_rows_is_zero():
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert silhouette(np.ones((6, 2), dtype=np.float32), labels).value == 0


@st.composite
def few_points(draw):
    """Rows drawn from a few distinct points, some nearly the same, in clusters that share them."""
    n_rows, width = draw(st.integers(3, 60)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    points = random.standard_normal((draw(st.integers(1, 5)), width))
    points = np.concatenate([points, points * (1 + draw(st.sampled_from([1e-2, 1e-3, 1e-5])))])
    rows = points[random.integers(0, len(points), n_rows)].astype(
        draw(st.sampled_from([np.float32, np.float64]))
    )
    labels = random.integers(0, draw(st.integers(2, 6)), n_rows)
    labels[:3] = [0, 0, 1]
    return rows + 0.0, labels


@settings(deadline=None)
@given(few_points())
def test_rows_that_coincide_are_exact(sample):
    rows, labels = sample
    expected, _ = by_definition(rows.astype(np.float64), labels)
    np.testing.assert_allclose(silhouette_samples(rows, labels), expected, atol=2e-4)
    whole = np.arange(len(rows))
    np.testing.assert_allclose(silhouette_samples(rows, labels, whole), expected, atol=2e-4)


@settings(deadline=None)
@given(few_points())
def test_far_apart_points_agree_with_scikit_learn(sample):
    rows, labels = sample
    points = np.unique(rows, axis=0, return_inverse=True)[1].ravel()[:, None] * [3.0, 4.0]
    expected = peers.silhouette_samples(points, labels)
    np.testing.assert_allclose(silhouette_samples(points.astype(np.float32), labels), expected, atol=1e-6)


@pytest.mark.parametrize("sampled", [False, True])
def test_clusters_that_share_their_only_points_have_no_silhouette(sampled):
    points = np.random.default_rng(0).standard_normal((2, 256)).astype(np.float32)
    rows, labels = np.repeat(points, 300, axis=0), np.arange(600) // 75  # four clusters a point
    sample = np.arange(0, 600, 7) if sampled else None
    assert not silhouette_samples(rows, labels, sample).any()


def test_points_far_from_the_middle_of_their_cluster_keep_their_digits():
    random = np.random.default_rng(0)
    centers = random.standard_normal((2, 256))
    rows = np.repeat(centers, 150, axis=0) + 1e-4 * random.standard_normal((300, 256))
    labels = np.arange(300) % 3  # each cluster has rows of both groups
    rows = rows.astype(np.float32)
    expected = peers.silhouette_samples(rows.astype(np.float64), labels)
    np.testing.assert_allclose(silhouette_samples(rows, labels), expected, atol=2e-6)


@pytest.mark.parametrize("exact_rows", [0, 10**6])
def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, exact_rows):
    random = np.random.default_rng(0)
    rows, labels = random.standard_normal((3000, 64), dtype=np.float32), random.integers(0, 4, 3000)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(module.threads, "count", lambda count=count: count)
        with threadpool_limits(count):
            found.append(silhouette(rows, labels, exact_rows=exact_rows, sampled_rows=500))
    assert found[0] == found[1] == found[2]
