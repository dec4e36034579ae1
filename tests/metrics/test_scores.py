import json
import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as peers
from threadpoolctl import threadpool_limits

from fused_clip.metrics.scores import (
    classification_scores,
    clustering_scores,
    contingency,
    hungarian_accuracy,
    purity,
    rounded,
    slug,
)
from fused_clip.metrics.silhouette import Silhouette

MLFLOW_KEY = re.compile(r"[\w.\- :/]+", re.ASCII)


@st.composite
def labelled(draw, *, lowest=0):
    """Targets in [0, 5) and as many labels in [lowest, 5)."""
    n_rows = draw(st.integers(1, 60))
    targets = draw(arrays(np.int64, n_rows, elements=st.integers(0, 4)))
    return targets, draw(arrays(np.int64, n_rows, elements=st.integers(lowest, 4)))


@settings(deadline=None)
@given(labelled())
def test_purity_is_the_accuracy_of_the_vote(sample):
    targets, clusters = sample
    clusters = np.unique(clusters, return_inverse=True)[1]
    vote = np.array([np.bincount(targets[clusters == one]).argmax() for one in range(clusters.max() + 1)])
    assert purity(targets, clusters) == pytest.approx((vote[clusters] == targets).mean())


@settings(max_examples=50, deadline=None)
@given(labelled())
def test_hungarian_accuracy_is_the_best_matching(sample):
    targets, clusters = sample
    best = max((np.array(renamed)[clusters] == targets).mean() for renamed in permutations(range(5)))
    assert hungarian_accuracy(targets, clusters) == pytest.approx(best)


@pytest.mark.slow
@settings(deadline=None)
@given(labelled(lowest=-1), st.integers(0, 2**32 - 1))
def test_clustering_scores_are_those_of_scikit_learn_without_noise(sample, seed):
    targets, clusters = sample
    rows = np.random.default_rng(seed).standard_normal((len(targets), 3)).astype(np.float32)
    scores = clustering_scores(rows, targets, clusters, 5)
    kept = clusters >= 0
    rows, targets, clusters = rows[kept], targets[kept], clusters[kept]
    n_clusters = len(set(clusters.tolist()))
    expected = {"n_clusters": n_clusters, "n_noise": (~kept).sum()}
    if n_clusters:
        expected["train/ari"] = peers.adjusted_rand_score(targets, clusters)
        expected["train/ami"] = peers.adjusted_mutual_info_score(targets, clusters)
        expected["train/nmi"] = peers.normalized_mutual_info_score(targets, clusters)
        expected["train/purity"] = purity(targets, clusters)
    if 1 < n_clusters < len(clusters):
        expected["train/silhouette"] = peers.silhouette_score(rows, clusters)
    if n_clusters == 5:
        expected["train/hungarian_accuracy"] = hungarian_accuracy(targets, clusters)
    assert scores == pytest.approx(expected, abs=1e-4)


def test_an_estimated_silhouette_says_so(monkeypatch):
    monkeypatch.setattr(
        "fused_clip.metrics.scores.silhouette",
        lambda rows, clusters: Silhouette(0.5, (0.4, 0.6), len(rows) - 1),
    )
    scores = clustering_scores(np.eye(4), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 2)
    assert scores["train/silhouette"] == 0.5
    assert (scores["train/silhouette_low"], scores["train/silhouette_high"]) == (0.4, 0.6)
    assert scores["train/silhouette_rows"] == 3


def test_many_small_clusters_score_without_a_warning():
    clusters = np.arange(40) // 2
    clusters[:10] = np.arange(100, 110)
    scores = clustering_scores(np.eye(40, dtype=np.float32), np.arange(40) % 2, clusters, 2)
    assert scores["n_clusters"] == 25
    assert "train/ari" in scores


@settings(deadline=None)
@given(labelled(lowest=-1))
@example((np.array([0, 2]), np.array([-1, -1])))
@example((np.array([3, 3]), np.array([1, 3])))
def test_classification_scores_are_those_of_scikit_learn(sample):
    targets, predicted = sample
    scores = classification_scores(targets, predicted, list("abcde"))
    seen = sorted({*targets.tolist(), *predicted.tolist()} - {-1})
    present = sorted(set(targets.tolist()))
    recalls = peers.recall_score(targets, predicted, labels=present, average=None)
    expected = {f"test/recall/{t}-{'abcde'[t]}": recall for t, recall in zip(present, recalls, strict=True)}
    expected |= {
        "test/accuracy": peers.accuracy_score(targets, predicted),
        "test/balanced_accuracy": recalls.mean(),
        "test/macro_f1": peers.f1_score(targets, predicted, labels=seen, average="macro"),
    }
    assert scores == pytest.approx(expected)


def test_no_rows_have_no_scores():
    empty = np.array([], dtype=np.int64)
    assert classification_scores(empty, empty, ["a"]) == {}


@settings(deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=4))
@example(["<script>", "<script", "猫", "é/è", "", "..", "a" * 300])
def test_any_name_gives_a_valid_key_of_its_own(names):
    index = np.arange(len(names))
    keys = [key for key in classification_scores(index, index, names) if key.startswith("test/recall/")]
    assert len(set(keys)) == len(names)
    for key in keys:
        assert MLFLOW_KEY.fullmatch(key)
        assert len(key) <= 250
        assert key.count("/") == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pickup_truck", "pickup_truck"),
        ("Great Dane", "great-dane"),
        ("<script>", "script"),
        ("Café 2.0", "cafe-2.0"),
        ("a/b", "a-b"),
        ("猫", "target"),
        ("..", "target"),
    ],
)
def test_slug(name, expected):
    assert slug(name) == expected


def test_scores_are_the_same_bytes_by_one_thread_and_by_two():
    random = np.random.default_rng(0)
    rows, targets = random.standard_normal((2500, 64), dtype=np.float32), random.integers(0, 5, 2500)
    clusters = random.integers(0, 8, 2500)
    found = []
    for count in (1, 2):
        with threadpool_limits(count):
            found.append(clustering_scores(rows, targets, clusters, 5))
    assert json.dumps(found[0]) == json.dumps(found[1])


def test_scores_are_rounded_to_what_another_number_of_threads_leaves():
    assert rounded({"a": 0.047391173522, "b": 0.047391176984}) == {"a": 0.0473912, "b": 0.0473912}
    odd = rounded({"nan": float("nan"), "inf": float("inf"), "large": 1234567.0, "zero": 0.0})
    assert np.isnan(odd.pop("nan"))
    assert odd == {"inf": float("inf"), "large": 1234570.0, "zero": 0.0}


def test_a_table_of_counts_by_hand() -> None:
    targets, clusters = np.array([0, 2, 2, 0, 2]), np.array([1, 0, 0, -1, 1])
    assert contingency(targets, clusters).tolist() == [[0, 1], [0, 0], [2, 1]]
    assert contingency(targets, clusters, 4).tolist() == [[0, 1], [0, 0], [2, 1], [0, 0]]
    nothing = np.array([], dtype=np.int64)
    assert contingency(nothing, nothing).shape == (0, 0)
    assert contingency(nothing, nothing, 3).shape == (3, 0)
