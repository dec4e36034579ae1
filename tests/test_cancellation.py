"""Where the words cancel out of the method, whatever they say, and where they do not."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score

from fused_clip import PromptFusedClassifier
from fused_clip.method import text
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.clusterer.neighbors import neighbor_affinity
from fused_clip.method.fusion import LinearFusion
from tests.conftest import Fixed

Rows = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Problem:
    """Rows of overlapping classes, and a partition that is pure in them."""

    train: Rows
    targets: IntArray
    clusters: IntArray
    test: Rows
    texts: Rows

    @property
    def cluster_targets(self) -> IntArray:
        return np.array([self.targets[self.clusters == c][0] for c in range(self.clusters.max() + 1)])

    def fit(self, texts: Rows, prompt_of_target: Any = None, **params: Any) -> PromptFusedClassifier:
        clusterer = params.pop("clusterer", Fixed(self.clusters))
        model = PromptFusedClassifier(texts, prompt_of_target, clusterer=clusterer, random_state=0, **params)
        return model.fit(self.train, self.targets)

    def distances(self) -> Rows:
        """(m, k) of each test row to the image mean of each cluster."""
        means = [self.train[self.clusters == c].mean(axis=0) for c in range(len(self.cluster_targets))]
        found: Rows = np.linalg.norm(self.test[:, None] - np.array(means), axis=2)
        return found


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    n_classes, per_class = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    dim, rows = draw(st.integers(5, 12)), draw(st.integers(3, 10))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    means = rng.normal(size=(n_classes, dim))
    targets = np.repeat(np.arange(n_classes), rows * per_class)
    parts = np.tile(np.arange(per_class), rows * n_classes)
    return Problem(
        means[targets] + rng.normal(size=(len(targets), dim)),
        targets,
        targets * per_class + parts,
        means[rng.integers(n_classes, size=40)] + rng.normal(size=(40, dim)),
        draw(st.sampled_from([0.1, 1.0, 30.0])) * rng.normal(size=(n_classes, dim)),
    )


@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_over_pure_clusters_every_text_is_nearest_image_mean(problem: Problem, seed: int) -> None:
    """With task, swapped, rotated, isotropic and permuted text alike; rows that nearly tie are left out."""
    distances = problem.distances()
    targets = problem.cluster_targets
    nearest = targets[distances.argmin(axis=1)]
    others = np.where(targets == nearest[:, None], np.inf, distances).min(axis=1)
    clear = others - distances.min(axis=1) > 1e-4
    count = len(problem.texts)
    controls = [
        control(problem.texts, seed).astype(float)
        for control in (text.rotated, text.isotropic, text.permuted)
    ]
    models = [problem.fit(rows) for rows in (problem.texts, *controls)]
    models.append(problem.fit(problem.texts, np.roll(np.arange(count), 1)))
    for model in models:
        np.testing.assert_array_equal(model.predict(problem.test)[clear], nearest[clear])


@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_a_graph_without_edges_between_prompts_does_not_depend_on_the_words(
    problem: Problem, seed: int
) -> None:
    graphs = []
    for rows in (100 * problem.texts, 100 * text.isotropic(problem.texts, seed)):
        fused = (problem.train + rows[problem.targets]) / 2
        graph = neighbor_affinity(fused, 3).tocoo()
        assume((problem.targets[graph.row] == problem.targets[graph.col]).all())
        graphs.append(graph.toarray())
    np.testing.assert_array_equal(graphs[0], graphs[1])


# Rows as first centres: k-means++ draws them by distances, whose rounding a draw may meet.
CLUSTERERS = [KMeans(n_init=1, init="random"), AgglomerativeClustering(), SpectralClustering(n_neighbors=3)]


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda one: type(one).__name__)
@given(problem=problems())
def test_one_prompt_for_all_gives_the_partition_of_none(clusterer: Any, problem: Problem) -> None:
    """Up to rounding, for clusterers that depend neither on scale nor on place."""
    one = dict.fromkeys(range(len(problem.texts)), 0)
    generic = problem.fit(problem.texts[:1], one, clusterer=clusterer)
    none = problem.fit(None, clusterer=clusterer)  # type: ignore[arg-type]
    assert adjusted_rand_score(generic.labels_, none.labels_) == 1


def two_classes() -> Problem:
    """Two classes on a line, and a partition that mixes them: 0 0 0 1 | 1 1 1 1."""
    train = np.array([[-3.0, 0], [-2.5, 0], [-2, 0], [-1, 0], [3, 0], [2.5, 0], [2, 0], [1, 0]])
    targets = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    clusters = np.repeat([0, 1], 4)
    test = np.linspace(-3, 3, 61)[:, None] * np.array([[1.0, 0]])
    return Problem(train, targets, clusters, test, np.array([[8.0, 0], [-8.0, 0]]))


def test_over_impure_clusters_the_words_count() -> None:
    """The other class's prompt is left in the centroid, and moves the boundary by a share of itself."""
    problem = two_classes()
    predicted = [problem.fit(scale * problem.texts).predict(problem.test) for scale in (0.0, 1.0)]
    nearest = problem.cluster_targets[problem.distances().argmin(axis=1)]
    np.testing.assert_array_equal(predicted[0], nearest)
    assert (predicted[1] != nearest).any()


def test_normalised_output_lets_the_words_count_over_pure_clusters() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 20)
    means = np.array([[1.0, 0, 0], [0, 1, 0]])
    problem = Problem(
        means[targets] + 0.5 * rng.normal(size=(40, 3)),
        targets,
        targets,
        means[rng.integers(2, size=200)] + 0.5 * rng.normal(size=(200, 3)),
        np.array([[4.0, 0, 0], [0, 1, 0]]),
    )
    swapped = np.array([1, 0])
    plain = [problem.fit(problem.texts, order).predict(problem.test) for order in (None, swapped)]
    np.testing.assert_array_equal(plain[0], plain[1])
    on_sphere = [
        problem.fit(problem.texts, order, fusion=LinearFusion(normalize_output=True)).predict(problem.test)
        for order in (None, swapped)
    ]
    assert (on_sphere[0] != on_sphere[1]).mean() > 0.02
