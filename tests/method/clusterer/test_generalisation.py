import numpy as np
import pytest
from sklearn.datasets import make_blobs

from fused_clip.method.clusterer import generalisation_score


@pytest.fixture(scope="module")
def blobs():
    rows, groups = make_blobs([60, 70, 80], n_features=8, cluster_std=0.5, random_state=0)
    return rows, groups


def test_labels_that_a_hyperplane_separates_score_one(blobs):
    assert generalisation_score(*blobs) == 1


def test_labels_by_chance_score_chance(blobs):
    rows, groups = blobs
    shuffled = np.random.default_rng(0).permutation(groups)
    assert generalisation_score(rows, shuffled) < 0.5


def test_it_counts_rows_held_out_not_rows_learnt():
    """With more dimensions than rows a linear classifier learns any labels by heart."""
    random = np.random.default_rng(0)
    assert generalisation_score(random.normal(size=(60, 500)), np.arange(60) % 2) < 0.7


def test_it_is_the_accuracy_of_a_ridge_regression_on_each_fold():
    rows = np.random.default_rng(0).normal(size=(40, 6))
    labels = (rows[:, 0] + 0.5 * rows[:, 1] ** 2 > 0.3).astype(int)
    from sklearn.model_selection import KFold

    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    draw = int(np.random.default_rng(3).integers(2**31))
    found = []
    for train, test in KFold(10, shuffle=True, random_state=draw).split(rows):
        middle, aim = directions[train].mean(axis=0), 2.0 * labels[train] - 1
        moved = directions[train] - middle
        weights = np.linalg.solve(moved.T @ moved + np.eye(6), moved.T @ (aim - aim.mean()))
        said = (directions[test] - middle) @ weights + aim.mean() > 0
        found.append(np.mean(said == labels[test]))
    assert generalisation_score(rows, labels, 3) == pytest.approx(np.mean(found))


def test_the_names_of_labels_noise_and_the_lengths_of_rows_change_nothing(blobs):
    rows, groups = blobs
    groups = np.where(np.arange(len(rows)) % 5, groups, (groups + 1) % 3)  # a fifth are wrong
    score = generalisation_score(rows, groups)
    assert score < 1
    assert generalisation_score(rows, np.array([7, 2, 5])[groups]) == score
    lengths = np.random.default_rng(1).uniform(1, 5, (len(rows), 1))
    assert generalisation_score(rows * lengths, groups) == score
    with_noise = np.concatenate([groups, np.full(9, -1)])
    assert generalisation_score(np.vstack([rows, rows[:9]]), with_noise) == score


def test_a_sample_of_many_rows_gives_nearly_the_same():
    rows, groups = make_blobs(20_000, n_features=3, centers=4, cluster_std=3, random_state=0)
    whole, other = generalisation_score(rows, groups), generalisation_score(rows, groups, seed=1)
    assert whole == generalisation_score(rows, groups)
    assert whole != other
    assert whole == pytest.approx(other, abs=0.03)


def test_a_label_in_one_fold_alone_is_an_error_of_that_fold(blobs):
    rows, groups = blobs
    rare = np.where(np.arange(len(rows)) == 3, 9, groups)
    assert generalisation_score(rows, rare) == pytest.approx(1 - 1 / len(rows), abs=1e-3)
    one = np.arange(len(rows)) == 3
    assert generalisation_score(rows, one.astype(int)) == pytest.approx(1 - 1 / len(rows), abs=1e-3)


@pytest.mark.parametrize(
    "labels", [np.zeros(210, int), np.full(210, -1), np.where(np.arange(210) < 9, np.arange(210), -1)]
)
def test_nothing_to_find_again_is_refused(blobs, labels):
    with pytest.raises(ValueError, match="needs at least 10 rows and 2 labels"):
        generalisation_score(blobs[0], labels)
