"""Nearest neighbours against scikit-learn's and against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from fused_clip.method.classifier import KNeighbors, Training
from fused_clip.method.classifier.validation import validation_split
from fused_clip.method.fusion import l2_normalized, mean
from fused_clip.support.arrays import DoubleArray
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

HARD = make_blobs(n_classes=4, spread=5.0)
TRAINING = Training(HARD.train, 4, targets=HARD.train_targets)


def shares(model: KNeighbors, X: DoubleArray, k: int) -> DoubleArray:
    """Shares of the votes, from the smoothed scores."""
    return (np.exp(model.target_scores(X).values) * (k + 1) - 0.25) / k


@pytest.mark.parametrize("k", [1, 4, 9, 160])
@pytest.mark.parametrize("temperature", [0.07, 1.0, 1e9])
def test_the_votes_are_those_of_scikit_learn(k: int, temperature: float) -> None:
    """A very large temperature lets every neighbour count the same."""
    weights = "uniform" if temperature == 1e9 else lambda d: np.exp(-(d**2) / 2 / temperature)
    theirs = KNeighborsClassifier(k, weights=weights)
    theirs.fit(l2_normalized(HARD.train.astype(np.float64)), HARD.train_targets)
    expected = theirs.predict_proba(l2_normalized(HARD.test.astype(np.float64)))
    model = KNeighbors(k, temperature).fit(TRAINING)
    np.testing.assert_allclose(shares(model, HARD.test, k), expected, atol=1e-5)


@given(st.integers(0, 1000), st.integers(1, 7))
def test_the_votes_are_those_of_a_loop(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows, targets, x = rng.normal(size=(7, 3)), np.arange(7) % 4, rng.normal(size=3)
    cosines = [row @ x / np.linalg.norm(row) / np.linalg.norm(x) for row in rows]
    votes = np.zeros(4)
    for place in sorted(range(7), key=lambda place: -cosines[place])[:k]:
        votes[targets[place]] += np.exp(cosines[place] / 0.07)
    model = KNeighbors(k).fit(Training(rows, 4, targets=targets))
    np.testing.assert_allclose(shares(model, x[None], k)[0], votes / votes.sum(), atol=1e-9)


def test_lengths_of_rows_do_not_matter() -> None:
    factors = np.random.default_rng(0).uniform(0.1, 10, size=(len(HARD.train), 1))
    scaled = Training(HARD.train.astype(np.float64) * factors, 4, targets=HARD.train_targets)
    one, other = (KNeighbors(5).fit(given).target_scores(HARD.test).values for given in (TRAINING, scaled))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_labelled_image_is_its_own_nearest_neighbour() -> None:
    scores = KNeighbors(1).fit(TRAINING).target_scores(HARD.train).values
    np.testing.assert_array_equal(scores.argmax(axis=1), HARD.train_targets)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)


def test_k_is_the_best_on_validation_rows() -> None:
    split = validation_split(TRAINING)
    assert split is not None
    rows, held_out = (l2_normalized(part.astype(np.float64)) for part in (split.images, split.held_out))
    grid = (1, 3, 5, 9, 15, 25)  # 32 rows of each class are left
    found = [
        KNeighborsClassifier(k, weights=lambda d: np.exp(-(d**2) / 0.14)).fit(rows, split.targets)
        for k in grid
    ]
    accuracies = [theirs.score(held_out, split.held_out_targets) for theirs in found]
    assert max(accuracies) > accuracies[0]
    assert KNeighbors().fit(TRAINING).chosen_ == {"k": float(grid[int(np.argmax(accuracies))])}


def test_k_is_at_most_the_labels_of_the_smallest_class() -> None:
    targets = HARD.train_targets.copy()
    targets[np.flatnonzero(targets == 2)[4:]] = -1  # 4 labels: 2 of them hold out
    assert KNeighbors().fit(Training(HARD.train, 4, targets=targets)).neighbors_[0] == 1


def test_more_neighbours_than_labels_are_all() -> None:
    """Folds of few labels have fewer rows than the run."""
    one, other = (KNeighbors(k).fit(TRAINING).target_scores(HARD.test).values for k in (160, 1000))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("params", "option"),
    [({"k": 0}, "k"), ({"k": 1.5}, "k"), ({"k": True}, "k"), ({"temperature": 0}, "temp")],
)
def test_settings_out_of_range_are_refused(params: dict[str, float], option: str) -> None:
    with pytest.raises(InputError, match=rf"classifier\.{option}\w*: must be a"):
        KNeighbors(**params)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"neighbors": np.array([0])},
        {"neighbors": np.array([161])},
        {"row_targets": np.zeros(3, dtype=int)},
        {"rows": np.full((160, 16), np.nan)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray]) -> None:
    arrays = KNeighbors(3).fit(TRAINING).arrays()
    with pytest.raises(ValueError, match=r"must|finite"):
        KNeighbors().restore({**arrays, **change}, 4, mean())
