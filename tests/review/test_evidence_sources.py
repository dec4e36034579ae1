"""Sources of evidence about a label: none of them has seen it."""

from collections.abc import Callable

import numpy as np
import pytest

from fused_clip.method.classifier import Training
from fused_clip.review.cluster_vote import ClusterVote
from fused_clip.review.evidence_sources import EXPLAINED, sources
from tests.conftest import Blobs, make_blobs

Clusters = Callable[[Blobs], np.ndarray]


def collected(blobs: Blobs, labels: np.ndarray, clusters: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return sources(blobs.train, labels, blobs.train_targets if clusters is None else clusters, 3, blobs.texts)


def test_every_source_recognises_a_planted_error(blobs: Blobs) -> None:
    labels = blobs.train_targets.copy()
    planted = [5, 50, 110]
    labels[planted] = (labels[planted] + 1) % 3
    found = collected(blobs, labels)
    assert found.keys() == EXPLAINED.keys()
    for name, scores in found.items():
        np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, err_msg=name)
        assert scores[planted].argmax(axis=1).tolist() == blobs.train_targets[planted].tolist(), name
        own = scores[np.arange(len(labels)), labels]
        # A vote of few neighbours is the same for several rows.
        assert own[planted].max() <= np.sort(own)[2 if name != "neighbors" else 8], name


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_label_is_no_evidence_for_itself(name: str) -> None:
    """Images are noise, so that a row's label can be guessed only by one who looks at it."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(400, 8)).astype(np.float32)
    labels = rng.integers(0, 4, 400)
    texts = rng.normal(size=(4, 8)).astype(np.float32)
    # The partition of oracle pairing: clusters give the labels away.
    found = sources(images, labels, labels, 4, texts)[name]
    assert (found.argmax(axis=1) == labels).mean() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("name", [name for name in EXPLAINED if name != "prompts"])
def test_a_row_with_another_label_is_judged_the_same(name: str) -> None:
    """Its own label moves folds and temperatures, and no more."""
    blobs = make_blobs(spread=1.5)
    labels = blobs.train_targets.copy()
    before = collected(blobs, labels)[name]
    labels[7] = 2
    after = collected(blobs, labels)[name]
    assert before[7].argmax() == after[7].argmax() == 0
    np.testing.assert_allclose(np.exp(before[7]), np.exp(after[7]), atol=0.1)


def test_without_prompts_there_is_no_such_source(blobs: Blobs) -> None:
    found = sources(blobs.train, blobs.train_targets, blobs.train_targets, 3)
    assert list(found) == ["clusters", "neighbors", "means", "discriminant"]


def test_prompts_are_cosines_that_are_calibrated(blobs: Blobs) -> None:
    found = collected(blobs, blobs.train_targets)["prompts"]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (blobs.train, blobs.texts)]
    cosines = unit[0].astype(np.float64) @ unit[1].T
    gaps, expected = found - found[:, :1], cosines - cosines[:, :1]
    scale = (gaps * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(gaps, scale * expected, atol=1e-4)


def test_a_class_of_one_image_and_rows_of_noise(blobs: Blobs) -> None:
    labels = np.where(blobs.train_targets == 2, 0, blobs.train_targets)
    labels[3] = 2
    clusters = blobs.train_targets.copy()
    clusters[10:15] = -1
    for name, scores in collected(blobs, labels, clusters).items():
        assert np.isfinite(scores).all(), name
        np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, err_msg=name)


def test_a_cluster_votes_with_one_vote_more_for_all() -> None:
    images = np.array([[1, 0], [2, 0.1], [3, 0], [0, 1], [0, 5], [0.1, 1]], np.float32)
    training = Training(
        images,
        3,
        clusters=np.array([0, 0, 0, 1, 1, -1]),
        cluster_targets=np.zeros(2, int),
        targets=np.array([0, 0, 1, 2, 2, 1]),
    )
    scores = ClusterVote().fit(training).target_scores(np.array([[9, 1], [0, 0.1]], np.float32)).values
    np.testing.assert_allclose(np.exp(scores), [[7 / 12, 4 / 12, 1 / 12], [1 / 9, 1 / 9, 7 / 9]])
