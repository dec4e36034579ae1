"""What holds for every classifier of labelled images, whichever labels there are."""

import dataclasses

import numpy as np
import pytest
from sklearn.base import clone

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import (
    Classifier,
    GaussianDiscriminant,
    KNeighbors,
    LinearProbe,
    NearestClassMean,
    ShrunkMean,
    TipAdapter,
    TipAdapterF,
    Training,
)
from fused_clip.support.arrays import IntArray
from tests.conftest import Blobs, make_blobs

CLASSIFIERS: list[Classifier] = [
    GaussianDiscriminant(),
    KNeighbors(),
    LinearProbe(),
    NearestClassMean(),
    ShrunkMean(),
    ShrunkMean("auto"),
    TipAdapter(),
    TipAdapterF(),
]
every = pytest.mark.parametrize("classifier", CLASSIFIERS, ids=repr)


def budget(blobs: Blobs, *per_class: int) -> IntArray:
    """Targets with the given number of labels of each class known."""
    targets = np.full(len(blobs.train), -1)
    for kind, count in enumerate(per_class):
        targets[np.flatnonzero(blobs.train_targets == kind)[:count]] = kind
    return targets


def training_of(blobs: Blobs, targets: IntArray, text: bool = True) -> Training:
    count = len(blobs.texts)
    texts, index = (blobs.texts, np.arange(count)) if text else (None, None)
    return Training(blobs.train, count, texts=texts, prompt_of_target=index, targets=targets)


@every
@pytest.mark.parametrize("labels", [(1, 1, 1), (2, 2, 2), (4, 4, 4), (16, 16, 16), (1, 3, 30)])
@pytest.mark.parametrize("text", [True, False])
def test_few_labels_are_enough_for_an_easy_set(
    blobs: Blobs, classifier: Classifier, labels: tuple[int, ...], text: bool
) -> None:
    if isinstance(classifier, TipAdapter) and not text and max(labels) > 16:
        pytest.skip("votes are counted: without text they go to the largest class")
    fitted = clone(classifier).fit(training_of(blobs, budget(blobs, *labels), text))
    scores = fitted.target_scores(blobs.test).values
    assert np.isfinite(scores).all()
    assert (scores.argmax(axis=1) == blobs.test_targets).mean() > 0.95


@every
def test_rows_without_a_label_take_no_part(blobs: Blobs, classifier: Classifier) -> None:
    training = training_of(blobs, budget(blobs, 5, 4, 6))
    known = training.targets >= 0  # type: ignore[operator]
    alone = dataclasses.replace(training, images=blobs.train[known], targets=training.targets[known])  # type: ignore[index]
    one, other = (
        clone(classifier).fit(given).target_scores(blobs.test).values for given in (training, alone)
    )
    np.testing.assert_array_equal(one, other)


@every
@pytest.mark.parametrize("text", [True, False])
def test_a_class_without_a_label_is_left_to_its_prompt(
    blobs: Blobs, classifier: Classifier, text: bool
) -> None:
    fitted = clone(classifier).fit(training_of(blobs, budget(blobs, 4, 0, 4), text))
    scores = fitted.target_scores(blobs.test).values
    own = blobs.test_targets == 1
    if text and classifier.uses_text:
        assert fitted.targets_.tolist() == [0, 1, 2]
        assert (scores[own].argmax(axis=1) == 1).mean() > 0.95
    else:
        assert fitted.targets_.tolist() == [0, 2]
        assert np.isneginf(scores[:, 1]).all()
    assert (scores[~own].argmax(axis=1) == blobs.test_targets[~own]).mean() > 0.95


@every
@pytest.mark.parametrize("text", [True, False])
def test_one_class_and_one_image_are_enough_to_answer(
    blobs: Blobs, classifier: Classifier, text: bool
) -> None:
    fitted = clone(classifier).fit(training_of(blobs, budget(blobs, 0, 1, 0), text))
    scores = fitted.target_scores(blobs.test[:3])
    assert np.isfinite(scores.values[:, fitted.targets_]).all()
    assert fitted.target_scores(blobs.test[:0]).values.shape == (0, 3)


@every
@pytest.mark.parametrize("text", [True, False])
def test_a_fitted_classifier_is_its_arrays(blobs: Blobs, classifier: Classifier, text: bool) -> None:
    training = training_of(blobs, budget(blobs, 4, 0, 3), text)
    fitted = clone(classifier).fit(training)
    again = clone(classifier).restore(fitted.arrays(), 3, training.fusion)
    np.testing.assert_array_equal(fitted.targets_, again.targets_)
    one, other = (model.target_scores(blobs.test).values for model in (fitted, again))
    np.testing.assert_array_equal(one, other)


@every
@pytest.mark.parametrize("labels", [(1, 0, 0), (1, 1, 1), (3, 3, 0)])
def test_few_labels_can_be_calibrated(blobs: Blobs, classifier: Classifier, labels: tuple[int, ...]) -> None:
    """Folds leave out labels: with one in all, none is left."""
    known = budget(blobs, *labels) >= 0
    model = PromptFusedClassifier(blobs.texts, dict(enumerate(range(3))), classifier=clone(classifier))
    model.fit(blobs.train, blobs.train_targets, blobs.train_targets, labelled=known)
    assert model.temperature_ is not None
    assert model.temperature_ > 0


@pytest.mark.parametrize("classifier", [GaussianDiscriminant(), KNeighbors(), ShrunkMean(), TipAdapter()])
def test_neither_label_nor_prompt_is_an_error(blobs: Blobs, classifier: Classifier) -> None:
    with pytest.raises(ValueError, match="a labelled image"):
        classifier.fit(training_of(blobs, budget(blobs, 0, 0, 0), text=False))


@every
def test_settings_are_chosen_on_the_rows_that_are_given_for_it(classifier: Classifier) -> None:
    """Other rows lead to other settings, if it says that it chooses any."""
    hard = make_blobs(n_classes=4, spread=6.0)
    hard = dataclasses.replace(hard, texts=1 + hard.texts / 20)  # alike, as CLIP's are
    training = training_of(hard, budget(hard, 16, 16, 16, 16))
    found = set()
    for part in range(3):
        leaked = {"settings": (hard.test[part::4], np.roll(hard.test_targets[part::4], part))}
        model = clone(classifier).fit(dataclasses.replace(training, leaked=leaked))
        found.add(tuple(model.chosen_.values()))
    chooses = "settings" in classifier.chooses and classifier.get_params().get("strength") != 1
    assert (len(found) > 1) == chooses


@pytest.mark.parametrize(
    ("classifier", "names"),
    [
        (GaussianDiscriminant(), ["alpha"]),
        (GaussianDiscriminant(alpha=1), []),
        (KNeighbors(), ["k"]),
        (KNeighbors(k=2), []),
        (LinearProbe(), ["C"]),
        (ShrunkMean(), []),
        (ShrunkMean("auto"), ["strength"]),
        (TipAdapter(), ["alpha", "beta"]),
        (TipAdapter(alpha=1), ["beta"]),
        (TipAdapter(alpha=1, beta=1), []),
        (TipAdapterF(beta=2), ["alpha", "epoch"]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("count", [1, 4])
def test_what_was_chosen_is_recorded(
    blobs: Blobs, classifier: Classifier, names: list[str], count: int
) -> None:
    fitted = clone(classifier).fit(training_of(blobs, budget(blobs, count, count, count)))
    assert sorted(fitted.chosen_) == names
    assert all(isinstance(value, float) for value in fitted.chosen_.values())
