"""How many clusters a target gets."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.sparse.csgraph import laplacian
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.clusterer import KeepClasses, KMeansFromPrompts, SpectralClustering
from fused_clip.method.clusterer.neighbors import neighbor_affinity
from fused_clip.method.clusterer.number import (
    candidates,
    choose,
    eigengaps,
    number_scores,
    sample_rows,
    stability,
)
from fused_clip.method.clusterer.wrapped import configured

N_TARGETS = 3


def grouped(parts, n=240, d=8, seed=0):
    """Three classes far apart, each of well separated blobs: rows, class of each, prompts."""
    random = np.random.default_rng(seed)
    classes = 60 * np.eye(d)[:N_TARGETS]
    shifts = np.tile(np.eye(d)[-parts:], (N_TARGETS, 1)) if parts > 1 else 0
    centers = np.repeat(classes, parts, axis=0) + 12 * shifts
    blob = np.arange(n) % len(centers)
    return (centers[blob] + 0.4 * random.normal(size=(n, d))).astype(np.float32), blob // parts, classes


CLUSTERERS = [
    SpectralClustering(n_neighbors=6),
    KMeans(n_init=3),
    GaussianMixture(n_init=3, covariance_type="spherical"),
    AgglomerativeClustering(),
    KeepClasses(KMeans(n_init=3)),
    KeepClasses(SpectralClustering(n_neighbors=6)),
    KMeansFromPrompts(),
]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=str)
def test_it_finds_the_number_of_blobs_of_each_class(clusterer, parts):
    rows, target, prompts = grouped(parts)
    model = PromptFusedClassifier(
        prompts.astype(np.float32), clusterer=clusterer, clusters_per_target="auto", random_state=0
    ).fit(rows, target)
    assert model.clusters_per_target_ == parts
    (curve,) = model.curves_
    assert (curve.name, curve.chosen) == ("clusters_per_target", parts)
    assert curve.x == (1, 2, 3, 4, 5)
    assert {len(values) for values in curve.series.values()} == {5}
    assert len(np.unique(model.labels_)) == parts * N_TARGETS


def test_the_choice_is_blind_to_labels():
    """The rows are the same however they are labelled, and so is the number."""
    rows, target, prompts = grouped(2)
    index = np.zeros(len(rows), dtype=int)
    curves = []
    for y in (target, np.random.default_rng(1).integers(3, size=len(rows))):
        clusterer = KeepClasses(KMeans(n_init=2))
        model = PromptFusedClassifier(
            prompts, clusterer=clusterer, clusters_per_target="auto", random_state=0
        ).fit(rows, y, prompt_index=index)
        curves.append(dataclasses.asdict(model.curves_[0]))
    assert curves[0] == curves[1]


def test_a_given_number_has_no_curve():
    rows, target, _ = grouped(2)
    model = PromptFusedClassifier(clusterer=KMeans(n_init=1), random_state=0).fit(rows, target)
    assert (model.clusters_per_target_, model.curves_) == (2, ())


def test_gaps_are_those_of_the_dense_laplacian(digits):
    rows = digits[0][:300]
    counts = [10, 20, 30]
    affinity = neighbor_affinity(rows, 10).toarray()
    np.fill_diagonal(affinity, 0)
    values = eigh(laplacian(affinity, normed=True), eigvals_only=True)
    expected = [1 - values[count - 1] / values[count] for count in counts]
    np.testing.assert_allclose(
        eigengaps(SpectralClustering(random_state=0), rows, counts), expected, atol=1e-6
    )


def test_components_are_a_gap_of_one_and_more_of_them_none():
    rows, _, _ = grouped(2)
    gaps = eigengaps(SpectralClustering(n_neighbors=6, random_state=0), rows, [1, 3, 6])
    np.testing.assert_allclose(gaps, [0, 0, 1])


class Halves(ClusterMixin, BaseEstimator):
    """Cuts rows at quantiles of the first axis: the same in each half, if rows are dense."""

    def __init__(self, n_clusters=2):
        self.n_clusters = n_clusters

    def fit(self, X, y=None):
        cuts = np.quantile(X[:, 0], np.arange(1, self.n_clusters) / self.n_clusters)
        self.labels_ = np.searchsorted(cuts, X[:, 0])
        return self


def test_stability_is_the_agreement_of_extended_halves():
    rows = np.random.default_rng(0).normal(size=(101, 2))
    found = stability(Halves(), rows, [2, 4], seed=3)
    random = np.random.default_rng(3)
    for pair in found:
        order = random.permutation(101)
        halves = [order[:50], order[50:100]]
        for value, count in zip(pair, [2, 4], strict=True):
            extended = []
            for half in halves:
                labels = Halves(count).fit_predict(rows[half])
                centers = np.stack([rows[half][labels == one].mean(axis=0) for one in range(count)])
                extended.append(euclidean_distances(rows, centers).argmin(axis=1))
            assert value == pytest.approx(adjusted_rand_score(*extended))


@pytest.mark.parametrize(
    ("values", "errors", "eigengap", "chosen"),
    [
        ([0.2, 0.9, 0.3], [0, 0, 0], True, 2),
        ([0.9, 0.9, 0.3], [0, 0, 0], True, 1),
        ([1, 1, 0.3], [0, 0, 0.2], False, 2),
        ([0.9, 0.87, 0.3], [0.05, 0.001, 0.5], False, 2),
        ([0.9, 0.8, 0.85], [0.01, 0.5, 0.5], False, 1),
    ],
)
def test_the_rule_by_hand(values, errors, eigengap, chosen):
    number, curve = choose(np.array([values, errors], dtype=float).T, eigengap=eigengap)
    assert number == chosen == curve.chosen
    assert next(iter(curve.series.values())) == tuple(values)


def test_the_sample_is_bounded_and_grows_with_the_targets():
    random = np.random.RandomState(0)
    np.testing.assert_array_equal(sample_rows(50, 3, random), np.arange(50))
    assert len(sample_rows(10_000, 3, random)) == 1_000
    rows = sample_rows(10_000, 100, random)
    assert len(np.unique(rows)) == 2_000


def test_the_same_seed_gives_the_same_scores():
    rows, _, _ = grouped(2)
    first, again = (number_scores(KMeans(n_init=1, random_state=0), rows, 3, 7) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_few_rows_allow_few_numbers():
    assert list(candidates(13, 3)) == [1, 2]
    assert list(candidates(6, 3)) == [1]
    with pytest.raises(
        ValueError, match=r"needs at least two rows for each of the 3 targets, got n_samples = 5"
    ):
        candidates(5, 3)


def test_a_clusterer_that_finds_its_own_number_is_refused():
    rows, target, _ = grouped(1)
    model = PromptFusedClassifier(clusterer=HDBSCAN(copy=True), clusters_per_target="auto")
    with pytest.raises(ValueError, match="'auto' needs a clusterer with n_clusters"):
        model.fit(rows, target)


def test_parameters_reach_the_base_and_no_other_estimator():
    inner = configured(KeepClasses(KMeans()), {"n_clusters": 7, "random_state": 3, "votes": np.zeros(2)})
    assert (inner.base.n_clusters, inner.base.random_state) == (7, 3)
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    chain = configured(make_pipeline(PCA(5), KMeans(2)), {"n_clusters": 7, "n_components": 7})
    assert (chain[0].n_components, chain[1].n_clusters) == (5, 2)


def test_the_error_of_a_stability_is_that_of_its_mean(monkeypatch):
    agreements = np.array([[1.0, 0.2], [0.6, 0.4], [0.8, 0.0], [0.8, 0.2]])
    monkeypatch.setattr("fused_clip.method.clusterer.number.stability", lambda *_: agreements)
    scores = number_scores(KMeans(), np.zeros((9, 2)), 2, 0)
    np.testing.assert_allclose(scores[:, 0], [0.8, 0.2])
    np.testing.assert_allclose(scores[:, 1], [np.sqrt(0.08 / 3) / 2] * 2)
