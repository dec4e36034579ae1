import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from fused_clip.method.votes import by_majority, by_matching, fill_from_nearest

CASES = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), min_size=1, max_size=60)


@settings(deadline=None)
@given(CASES)
def test_a_cluster_gets_the_target_with_most_votes_in_it(cases):
    votes, clusters = np.array(cases).T
    owners = by_majority(votes, clusters, 5)
    assert len(owners) == clusters.max() + 1
    for cluster, owner in enumerate(owners):
        counts = [int(((clusters == cluster) & (votes == target)).sum()) for target in range(5)]
        assert owner == (counts.index(max(counts)) if max(counts) else -1)


@settings(deadline=None)
@given(CASES)
def test_matching_has_most_rows_in_common_and_leaves_the_others_as_noise(cases):
    targets, clusters = np.array(cases).T
    found, owners = by_matching(targets, clusters, 5)
    assert len(owners) == min(5, clusters.max() + 1)
    assert len(set(owners.tolist())) == len(owners)
    counts = np.array([[((targets == k) & (clusters == c)).sum() for c in range(4)] for k in range(5)])
    most = counts[linear_sum_assignment(counts, maximize=True)].sum()
    kept = (found >= 0) & (targets >= 0)
    assert (owners[found[kept]] == targets[kept]).sum() == most
    assert (found[clusters < 0] == -1).all()


def test_a_cluster_without_a_vote_takes_the_target_of_the_nearest_that_has_one():
    centers = np.array([[0.0], [10.0], [9.0], [1.0]])
    assert fill_from_nearest(np.array([3, 1, -1, -1]), centers).tolist() == [3, 1, 1, 3]


def test_without_any_vote_there_is_nothing_to_take():
    with pytest.raises(ValueError, match="needs a cluster with a labelled row"):
        fill_from_nearest(np.array([-1, -1]), np.eye(2))
