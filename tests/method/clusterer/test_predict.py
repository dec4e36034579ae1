import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.votes import by_majority


@pytest.fixture(scope="module")
def model(digits):
    return SpectralClustering(20, random_state=0).fit(digits[0])


def test_clusters_of_new_rows_tell_as_much_as_those_of_clustered_rows(digits):
    rows, classes = digits
    model = SpectralClustering(20, random_state=0).fit(rows[:1500])
    majority = by_majority(classes[:1500], model.labels_, 10)
    clustered, new = majority[model.labels_] == classes[:1500], majority[model.predict(rows[1500:])]
    assert (new == classes[1500:]).mean() > clustered.mean() - 0.05


def test_nearly_all_rows_that_were_clustered_keep_their_cluster(digits, model):
    assert (model.predict(digits[0]) == model.labels_).mean() > 0.9


def test_one_neighbour_is_the_row_itself(digits):
    model = SpectralClustering(5, n_neighbors=2, random_state=0)
    with pytest.warns(UserWarning, match="connected components"):
        model.fit(digits[0])
    np.testing.assert_array_equal(model.predict(digits[0]), model.labels_)


def test_groups_that_text_makes_are_told_apart(digits):
    projected, classes = digits
    rows = projected + 3 * np.random.default_rng(1).standard_normal((10, 64))[classes]
    model = SpectralClustering(10, random_state=0).fit(rows[:1500])
    assert adjusted_rand_score(classes[1500:], model.predict(rows[1500:])) == 1


@pytest.mark.parametrize("scale", [1, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_far_away_take_the_nearest_cluster(scale, dtype):
    random = np.random.default_rng(0)
    rows = np.vstack([random.standard_normal((40, 3)), random.standard_normal((40, 3)) + 20]).astype(dtype)
    model = SpectralClustering(2, random_state=0).fit(rows)
    far = np.array([[-1, -1, -1], [21, 21, 21]], dtype=dtype) * np.array(scale, dtype=dtype)
    np.testing.assert_array_equal(model.predict(far), model.labels_[[0, -1]])


def test_the_lowest_cluster_wins_a_tie():
    rows = np.array([[0.0], [0.1], [0.2], [10.0], [10.1], [10.2]])
    model = SpectralClustering(2, n_neighbors=3, random_state=0).fit(rows)
    assert model.predict([[5.1]])[0] == min(model.labels_[0], model.labels_[-1])
