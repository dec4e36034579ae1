"""Clusters in which no target is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import make_blobs

from fused_clip.method.clusterer import KeepClasses
from fused_clip.method.votes import by_majority


class Given(ClusterMixin, BaseEstimator):
    """A partition that is there already."""

    def __init__(self, labels):
        self.labels = labels

    def fit(self, X, y=None):
        self.labels_ = np.asarray(self.labels)
        return self


def kept(labels, votes, rows=None):
    rows = np.arange(len(labels))[:, None] if rows is None else rows
    return KeepClasses(Given(labels), votes=np.array(votes)).fit(rows)


@st.composite
def partitions(draw):
    n, k, c = draw(st.integers(1, 30)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = random.integers(0, draw(st.sampled_from([1, 3, 1000])), size=(n, 2)).astype(float)
    return random.integers(-1, c, n), random.integers(-1, k, n), rows


@given(partitions())
@settings(max_examples=200)
def test_every_target_with_a_vote_owns_a_cluster(drawn):
    labels, votes, rows = drawn
    model = kept(labels, votes, rows)
    owners = by_majority(votes, model.labels_, 6)
    assert set(votes[votes >= 0]) <= set(owners)
    before = len(set(labels) - {-1})
    assert len(set(model.labels_) - {-1}) == before + model.n_splits_ == model.labels_.max() + 1
    assert model.n_splits_ <= len(set(votes[votes >= 0]))
    lost = set(votes[votes >= 0]) - set(
        by_majority(votes, np.unique(labels, return_inverse=True)[1] - int(-1 in labels), 6)
    )
    assert (model.n_splits_ == 0) == (not lost)
    if not lost:
        assert ((model.labels_[:, None] == model.labels_) == (labels[:, None] == labels)).all()
    for cluster in set(model.labels_) - {-1}:
        inside = set(labels[model.labels_ == cluster])
        assert len(inside) == 1, "clusters are split, never joined"


def test_without_a_loss_the_partition_is_that_of_the_base():
    rows, group = make_blobs([30, 30, 30], random_state=0)
    base = KMeans(3, n_init=2, random_state=0)
    model = KeepClasses(base, votes=group).fit(rows)
    np.testing.assert_array_equal(model.labels_, base.fit_predict(rows))
    assert model.n_splits_ == 0
    np.testing.assert_array_equal(KeepClasses(base).fit_predict(rows), base.labels_)


def test_the_split_takes_rows_without_a_vote_along():
    """Two blobs in one cluster: one vote is enough to part them."""
    rows, group = make_blobs([40, 20], centers=[[0, 0], [20, 0]], random_state=0)
    votes = np.full(60, -1)
    votes[np.flatnonzero(group == 0)[:3]], votes[np.flatnonzero(group == 1)[:1]] = 0, 1
    model = kept(np.zeros(60, int), votes, rows)
    np.testing.assert_array_equal(model.labels_, group)


def test_the_cluster_with_most_votes_is_split():
    labels = np.array([0] * 5 + [1] * 7)
    votes = np.array([0, 0, 0, 0, 2, 1, 1, 1, 1, 2, 2, -1])
    rows = np.array([0, 1, 2, 3, 9, 20, 21, 22, 23, 30, 31, 32.0])[:, None]
    model = kept(labels, votes, rows)
    assert model.labels_.tolist() == [0] * 5 + [1] * 4 + [2] * 3


def test_where_rows_do_not_part_the_votes_do():
    """2-means parts 0, 1 from 9, and the missing target is in neither part the majority."""
    rows = np.array([0, 1, 0, 1, 9, 9, 9.0])[:, None]
    model = kept([0] * 7, [0, 0, 1, -1, 0, 0, -1], rows)
    assert model.labels_.tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_a_split_starts_at_the_means_of_the_target_and_of_the_others():
    """From any other row 2-means ends with 0 and 4 together."""
    model = kept([0] * 7, [0, 0, 0, 0, 1, 1, 1], np.array([10, 10, 4, 4, 0, 0, 0.0])[:, None])
    assert model.labels_.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_no_split_costs_another_target_its_cluster():
    """2-means would leave target 0 outnumbered by 1 on the left and by 2 on the right."""
    rows = np.array([0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 50.0])[:, None]
    model = kept([0] * 10 + [1], [1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 2], rows)
    assert model.labels_.tolist() == [2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert model.n_splits_ == 1


def test_votes_of_noise_alone_become_a_cluster():
    model = kept([0, 0, -1, -1, -1], [0, 0, 1, 1, 0])
    assert model.labels_.tolist() == [0, 0, 1, 1, -1]


def test_noise_of_a_base_stays_noise():
    rows, group = make_blobs([40, 40], centers=[[0, 0], [30, 0]], cluster_std=0.5, random_state=0)
    rows = np.vstack([rows, [[500, 500]]])
    model = KeepClasses(HDBSCAN(min_cluster_size=10, copy=True), votes=np.append(group, 0)).fit(rows)
    assert model.labels_[-1] == -1
    assert model.labels_.max() == 1


def test_votes_have_to_be_as_many_as_rows():
    with pytest.raises(ValueError, match=r"votes must have shape \(3,\), got \(2,\)"):
        KeepClasses(Given([0, 0, 0]), votes=np.array([0, 1])).fit(np.zeros((3, 1)))
