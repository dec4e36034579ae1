"""k-means that starts at the prompts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from fused_clip.method.clusterer import KMeansFromPrompts
from fused_clip.method.fusion import l2_normalized
from fused_clip.method.pairing import zero_shot
from fused_clip.support.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def scattered(seed, n=60, p=4, d=6):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)).astype(np.float32), random.normal(size=(p, d)).astype(np.float32)


def by_hand(images, texts, rounds):
    """Lloyd's iterations, an image and a cluster at a time."""
    images = [row / np.sqrt((row**2).sum()) for row in images.astype(float)]
    prompts = [row / np.sqrt((row**2).sum()) for row in texts.astype(float)]
    centers = list(prompts)
    labels = [int(np.argmax([row @ center for center in centers])) for row in images]
    for _ in range(rounds):
        for cluster, prompt in enumerate(prompts):
            members = [row for row, label in zip(images, labels, strict=True) if label == cluster]
            mean = sum(members) if members else prompt
            centers[cluster] = mean / np.sqrt((mean**2).sum())
        labels = [int(np.argmax([row @ center for center in centers])) for row in images]
    return labels, np.array(centers)


@given(SEEDS, st.integers(1, 3))
@settings(max_examples=15)
def test_without_iterations_it_is_zero_shot(seed, share):
    images, texts = scattered(seed)
    model = KMeansFromPrompts(4 * share, max_iter=0, images=images, texts=texts, random_state=0)
    labels = model.fit_predict(np.zeros((60, 1)))
    np.testing.assert_array_equal(labels // share, zero_shot(images, texts))
    assert model.n_iter_ == 0


@given(SEEDS, st.integers(1, 4))
def test_it_iterates_as_lloyd_does(seed, rounds):
    images, texts = scattered(seed)
    model = KMeansFromPrompts(4, max_iter=rounds, images=images, texts=texts).fit(np.zeros((60, 1)))
    labels, centers = by_hand(images, texts, rounds)
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_allclose(model.cluster_centers_, centers, atol=1e-12)


@given(SEEDS)
@settings(max_examples=20)
def test_each_iteration_brings_images_nearer_to_their_centres(seed):
    images, texts = scattered(seed)
    unit = l2_normalized(images.astype(float))
    nearness = []
    for rounds in range(6):
        model = KMeansFromPrompts(4, max_iter=rounds, images=images, texts=texts).fit(images)
        sums = [unit[model.labels_ == cluster].sum(axis=0) for cluster in range(4)]
        nearness.append(sum(np.linalg.norm(one) for one in sums))
    assert (np.diff(nearness) >= -1e-9).all()


def test_an_empty_cluster_keeps_its_prompt():
    images = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0]])
    texts = np.array([[2, 0, 0], [0, 1, 0], [0, 0, -3.0]])
    model = KMeansFromPrompts(3, images=images, texts=texts).fit(images)
    assert model.labels_.tolist() == [0, 0, 1]
    np.testing.assert_allclose(model.cluster_centers_[2], [0, 0, -1])


def test_it_ends_where_no_image_moves():
    images, texts = scattered(0, n=200, p=6, d=3)
    model = KMeansFromPrompts(6, images=images, texts=texts).fit(images)
    again = KMeansFromPrompts(6, max_iter=1, images=images, texts=model.cluster_centers_).fit(images)
    np.testing.assert_array_equal(model.labels_, again.labels_)
    assert 0 < model.n_iter_ < 100


def test_several_clusters_of_a_prompt_split_its_images():
    random = np.random.default_rng(0)
    centers = np.array([[10, 2, 0, 0], [10, -2, 0, 0], [0, 0, 10, 2], [0, 0, 10, -2.0]])
    group = np.arange(80) % 4
    images = centers[group] + random.normal(size=(80, 4)) * 0.2
    texts = np.array([[1, 0, 0, 0], [0, 0, 1, 0.0]])
    model = KMeansFromPrompts(4, images=images, texts=texts, random_state=0).fit(images)
    assert adjusted_rand_score(group, model.labels_) == 1
    np.testing.assert_array_equal(model.labels_ // 2, group // 2)


def test_from_the_means_it_finds_what_k_means_finds(digits):
    rows, classes = digits
    unit = l2_normalized(rows)
    means = np.stack([unit[classes == one].mean(axis=0) for one in range(10)])
    model = KMeansFromPrompts(10, images=rows, texts=means).fit(rows)
    expected = KMeans(10, init=means, n_init=1, tol=0).fit_predict(unit)
    assert adjusted_rand_score(model.labels_, expected) > 0.9


def test_equal_images_and_prompts_without_images_are_no_trouble():
    images = np.ones((5, 3))
    model = KMeansFromPrompts(6, images=images, texts=np.eye(3), random_state=0).fit(images)
    assert len(np.unique(model.labels_)) == 1
    assert np.isfinite(model.cluster_centers_).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"texts": None}, "clusterer: k-means from prompts needs prompts"),
        ({"n_clusters": 5}, "each of the 3 prompts, so that n_clusters must be a multiple of it, got 5"),
        ({"n_clusters": 0}, "must be a multiple of it, got 0"),
        ({"max_iter": -1}, r"clusterer\.max_iter: must be at least 0, got -1"),
        ({"images": np.ones((4, 3))}, r"images must be 5 rows of width 3, got \(4, 3\)"),
        ({"images": np.ones((5, 2))}, r"images must be 5 rows of width 3, got \(5, 2\)"),
    ],
)
def test_bad_input_is_refused(params, message):
    model = KMeansFromPrompts(3, texts=np.eye(3), images=np.ones((5, 3))).set_params(**params)
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(np.ones((5, 3)))
    assert isinstance(caught.value, InputError) == ("images" not in params)


@pytest.mark.parametrize(("n_clusters", "n_prompts"), [(0, 1), (3, 2), (1, 2), (-2, 2)])
def test_each_prompt_starts_as_many_clusters(n_clusters, n_prompts):
    with pytest.raises(InputError, match=r"^clusterer: .* n_clusters must be a multiple of it, got"):
        KMeansFromPrompts.check_numbers(n_clusters, n_prompts)
    KMeansFromPrompts.check_numbers(1, 1)
    KMeansFromPrompts.check_numbers(n_prompts * 3, n_prompts)
