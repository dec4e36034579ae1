"""TAC: its two formulas against plain loops, and what must not change its clusters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from fused_clip import PromptFusedClassifier
from fused_clip.method.clusterer import TextAidedClustering
from fused_clip.method.clusterer.tac import characteristic_nouns, counterparts, spherical_centres
from fused_clip.method.fusion import unit_rows as unit
from fused_clip.support.errors import InputError


def unit_rows(seed, *shape):
    return unit(np.random.default_rng(seed).normal(size=shape))


@pytest.fixture
def photos():
    """Four classes told apart by 4 axes, beside 8 axes of nuisance; nouns that lie on the 4 axes."""
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(4), 50)
    told = np.eye(4)[classes] + 0.1 * random.normal(size=(200, 4))
    nuisance = random.normal(size=(200, 8))
    nouns = np.hstack([np.eye(4)[np.arange(40) % 4] + 0.1 * random.normal(size=(40, 4)), np.zeros((40, 8))])
    return np.hstack([told, nuisance]), nouns, classes


def model(nouns, **params):
    return TextAidedClustering(
        **{"n_clusters": 4, "rows_per_centre": 20, "word_rows": nouns, "random_state": 0, **params}
    )


def test_the_counterpart_is_the_mean_of_the_nouns_by_their_softmax():
    images, nouns, temperature = unit_rows(0, 7, 5), unit_rows(1, 6, 5), 0.3
    for image, found in zip(images, counterparts(images, nouns, temperature), strict=True):
        weights = [
            math.exp(sum(a * b for a, b in zip(image, noun, strict=True)) / temperature) for noun in nouns
        ]
        mean = [sum(w * noun[j] for w, noun in zip(weights, nouns, strict=True)) for j in range(5)]
        length = math.sqrt(sum(value**2 for value in mean))
        np.testing.assert_allclose(found, [value / length for value in mean], atol=1e-12)


def test_the_counterparts_of_many_images_are_those_of_each():
    images, nouns = unit_rows(0, 5000, 4), unit_rows(1, 6, 4)
    together = counterparts(images, nouns, 0.005)
    np.testing.assert_allclose(
        together[[0, 4095, 4096, 4999]], counterparts(images[[0, 4095, 4096, 4999]], nouns, 0.005)
    )


def test_a_cold_temperature_retrieves_the_nearest_noun():
    images, nouns = unit_rows(0, 30, 5), unit_rows(1, 8, 5)
    np.testing.assert_allclose(counterparts(images, nouns, 1e-6), nouns[(images @ nouns.T).argmax(axis=1)])


def test_each_centre_keeps_the_nouns_that_are_most_certain_to_be_its_own():
    centres, nouns = unit_rows(0, 3, 5), unit_rows(1, 20, 5)
    kept = set()
    for own in range(3):
        certain = []
        for number, noun in enumerate(nouns):
            powers = [math.exp(sum(a * b for a, b in zip(noun, centre, strict=True))) for centre in centres]
            certain.append((powers[own] / sum(powers), number))
        kept |= {number for _, number in sorted(certain)[-4:]}
    np.testing.assert_array_equal(characteristic_nouns(centres, nouns, 4), sorted(kept))


def test_one_centre_keeps_its_nearest_nouns():
    centre, nouns = unit_rows(0, 1, 5), unit_rows(1, 20, 5)
    nearest = np.sort((nouns @ centre[0]).argsort()[-4:])
    np.testing.assert_array_equal(characteristic_nouns(centre, nouns, 4), nearest)


def test_a_centre_is_the_direction_of_the_mean_of_its_images():
    # Diffuse beside dense groups: means of other lengths would draw other borders.
    dense = np.repeat(unit_rows(2, 4, 4), 50, axis=0) + 0.05 * unit_rows(3, 200, 4)
    images = unit(np.vstack([unit_rows(1, 200, 4), dense]))
    centres = spherical_centres(images, 8, 0)
    own = (images @ centres.T).argmax(axis=1)
    np.testing.assert_allclose(
        centres, unit(np.stack([images[own == i].mean(axis=0) for i in range(8)])), atol=1e-5
    )


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(40)))
def test_the_order_of_the_nouns_changes_nothing(order):
    images, nouns = unit_rows(0, 120, 6), unit_rows(1, 40, 6)
    nouns[7] = nouns[3]  # a synonym of the same embedding
    first, second = model(nouns).fit(images), model(nouns[order]).fit(images)
    np.testing.assert_array_equal(second.labels_, first.labels_)
    np.testing.assert_array_equal(
        np.unique(nouns[order][second.nouns_], axis=0), np.unique(nouns[first.nouns_], axis=0)
    )


def test_a_noun_that_is_named_twice_counts_once():
    images, nouns = unit_rows(0, 120, 6), unit_rows(1, 40, 6)
    twice = model(np.vstack([nouns, nouns])).fit(images)
    np.testing.assert_array_equal(twice.labels_, model(nouns).fit(images).labels_)
    assert twice.nouns_.max() < 40


def test_the_lengths_of_rows_change_nothing():
    images, nouns = unit_rows(0, 120, 6), unit_rows(1, 40, 6)
    lengths = np.random.default_rng(2).uniform(1, 9, 160)
    longer = model(nouns * lengths[120:, None]).fit(images * lengths[:120, None])
    np.testing.assert_array_equal(longer.labels_, model(nouns).fit(images).labels_)


def test_the_seed_decides_all_and_with_fixed_nouns_the_start_of_the_last_step_alone(photos, monkeypatch):
    images, nouns, _ = photos
    joined = []

    class Recording(KMeans):
        def fit_predict(self, X, y=None):
            joined.append(X)
            return super().fit_predict(X, y)

    monkeypatch.setattr("fused_clip.method.clusterer.tac.KMeans", Recording)
    same = [model(nouns).fit(images).labels_ for _ in range(2)]
    np.testing.assert_array_equal(*same)
    for seed in (1, 2):
        model(nouns, nouns_per_centre=40, random_state=seed).fit(images)
    np.testing.assert_array_equal(*joined[2:])
    expected = np.hstack([unit(images), counterparts(unit(images), np.unique(unit(nouns), axis=0), 0.005)])
    np.testing.assert_array_equal(joined[-1], expected)


def test_nouns_find_classes_that_images_alone_hide(photos):
    images, nouns, classes = photos
    alone = KMeans(4, n_init=10, random_state=0).fit_predict(unit(images))
    assert adjusted_rand_score(classes, alone) < 0.3
    assert adjusted_rand_score(classes, model(nouns).fit_predict(images)) > 0.6


def test_the_estimator_gives_it_the_images_beside_the_fused_rows(photos):
    images, nouns, classes = photos
    texts = 50 * np.eye(12)[[0, 0, 1, 1]]  # would decide the clusters of fused rows
    parts = {"clusterer": model(nouns), "clusters_per_target": 1, "random_state": 0}
    fitted = PromptFusedClassifier(texts, [0, 1, 2, 3], **parts).fit(images, classes)
    alone = model(nouns).fit_predict(images)
    assert adjusted_rand_score(fitted.labels_, alone) == 1


def test_it_is_a_clusterer_of_scikit_learn(photos):
    images, nouns, _ = photos
    first = model(nouns)
    np.testing.assert_array_equal(clone(first).fit_predict(images), first.fit_predict(images))


def test_as_many_clusters_as_rows_and_one_cluster(photos):
    images, nouns, _ = photos
    assert len(np.unique(model(nouns, n_clusters=9).fit_predict(images[:9]))) == 9
    assert not model(nouns, n_clusters=1).fit_predict(images).any()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_clusters": 201}, "n_clusters: must be at least 1 and at most .* = 200.*got 201"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"rows_per_centre": 0}, "rows_per_centre: must be at least 1"),
        ({"nouns_per_centre": 0}, "nouns_per_centre: must be at least 1"),
        ({"n_init": 0}, "n_init: must be at least 1"),
        ({"temperature": 0}, "temperature: must be above 0"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(photos, params, message):
    images, nouns, _ = photos
    with pytest.raises(InputError, match=message):
        model(nouns).set_params(**params).fit(images)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"word_rows": None}, "word_rows must be the embeddings of the words"),
        ({"word_rows": np.ones((3, 5))}, "word_rows must have width 12, got 5"),
        ({"images": np.ones((3, 12))}, "images must have 200 rows, as X has, got 3"),
        ({"word_rows": np.full((3, 12), np.nan)}, "NaN"),
    ],
)
def test_rows_that_do_not_fit_are_refused(photos, params, message):
    images, nouns, _ = photos
    with pytest.raises(ValueError, match=message):
        model(nouns).set_params(**params).fit(images)
