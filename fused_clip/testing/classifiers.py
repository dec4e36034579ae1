"""What classifiers must do with the rows of the sample."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier
from fused_clip.model import format as files
from fused_clip.model.facts import TrainingFacts
from fused_clip.model.head import Head
from fused_clip.runner.config import build
from fused_clip.support.arrays import DoubleArray, IntArray
from fused_clip.testing.chosen import Chosen
from fused_clip.testing.sample import SampleRows, same, sample, some_labels

_TOLERANCE = 1e-4  # of float32 sums in another order


def check_classifier(chosen: Chosen) -> None:
    """Scores for each target, by declared inputs alone, the same for one seed and from a saved model.

    Parameters
    ----------
    chosen : an option of the group ``classifier``.
    """
    given, classifier = sample(), build(chosen.options.classifier)
    is_one = isinstance(classifier, Classifier)
    chosen.require(is_one, "must make a subclass of fused_clip.method.classifier.Classifier")
    params = classifier.get_params()
    chosen.require(_clones(classifier), "its clone must have its parameters, as __init__ was given them")
    before = copy.deepcopy((given.train, given.test, given.texts))
    model = _fitted(given, classifier, given.targets)
    known = np.asarray(getattr(model.classifier_, "targets_", ()))
    chosen.require(same(known, np.unique(given.targets)), "fit must set targets_, which can be predicted")
    scores = model.target_scores(given.test).values
    _check_scores(chosen, given, scores)
    again = _fitted(given, classifier, given.targets).target_scores(given.test).values
    chosen.require(same(scores, again), "must give the same scores for the same random_state")
    right = float((scores.argmax(axis=1) == given.tested).mean())
    chosen.require(right > 0.5, f"must be right on clear data more often than not, and is on {right:.2f}")
    _check_labels(chosen, given, classifier)
    _check_batch(chosen, given, model, scores)
    _check_saved(chosen, given, model, scores)
    kept = all(same(*pair) for pair in zip(before, (given.train, given.test, given.texts), strict=True))
    chosen.require(kept, "must not change the arrays that it is given")
    chosen.require(repr(classifier.get_params()) == repr(params), "must not change its own parameters")


def _clones(classifier: Classifier) -> bool:
    try:
        return repr(clone(classifier).get_params()) == repr(classifier.get_params())
    except (RuntimeError, TypeError):  # scikit-learn's own words for the same
        return False


def _fitted(given: SampleRows, classifier: Classifier, targets: IntArray) -> PromptFusedClassifier:
    """A fitted partition with the classifier on top; `targets` are for the classifier alone."""
    model = PromptFusedClassifier(
        given.texts,
        dict(enumerate(range(len(given.texts)))),
        clusterer=KMeans(n_init=1),
        calibrate=False,
        random_state=0,
    )
    model.fit(given.train, given.targets)
    return model.with_classifier(classifier, given.train, targets)


def _check_scores(chosen: Chosen, given: SampleRows, scores: DoubleArray) -> None:
    shape = (len(given.test), len(given.prompts.target_names))
    chosen.require(scores.shape == shape, f"target_scores must give values of shape {shape}")
    kind = np.issubdtype(scores.dtype, np.floating)
    chosen.require(kind, f"target_scores must give floats, not {scores.dtype}")
    usable = not np.isnan(scores).any() and not np.isposinf(scores).any()
    chosen.require(usable, "target_scores must be finite, or -inf for a target that can't be predicted")
    chosen.require(np.isfinite(scores).any(axis=1).all(), "target_scores must be finite for some target")


def _check_labels(chosen: Chosen, given: SampleRows, classifier: Classifier) -> None:
    """Labels only where they are declared, and some of them may be unknown."""
    if classifier.uses_labels:
        some = _fitted(given, classifier, some_labels(given.targets)).target_scores(given.test).values
        _check_scores(chosen, given, some)
        return
    shuffled = np.random.default_rng(0).permutation(given.targets)
    first, second = (
        _fitted(given, classifier, targets).target_scores(given.test).values
        for targets in (given.targets, shuffled)
    )
    chosen.require(same(first, second), "says uses_labels = False, so its scores must not depend on labels")


def _check_batch(
    chosen: Chosen, given: SampleRows, model: PromptFusedClassifier, scores: DoubleArray
) -> None:
    order = np.random.default_rng(0).permutation(len(given.test))
    shuffled = model.target_scores(given.test[order]).values
    chosen.require(
        same(shuffled, scores[order], _TOLERANCE), "its scores must not depend on the order of images"
    )
    if not model.classifier_.transductive:
        alone = np.concatenate([model.target_scores(given.test[row : row + 1]).values for row in range(5)])
        rule = "its scores must not depend on the other images, unless it says transductive = True"
        chosen.require(same(alone, scores[:5], _TOLERANCE), rule)


def _check_saved(
    chosen: Chosen, given: SampleRows, model: PromptFusedClassifier, scores: DoubleArray
) -> None:
    """A saved model gives the same scores."""
    facts = TrainingFacts(dataset="sample", fingerprint="", rows=len(given.train), uses_labels=True)
    with TemporaryDirectory() as place:
        folder = Path(place, "model")
        try:
            files.write(folder, Head.of(model, given.prompts), None, facts)
        except files.UnsavableError:
            return  # a run with it says so, and saves no model
        head = files.read(folder, [type(model.classifier_)])[0]
        found = head.classifier.target_scores(given.test).values
    chosen.require(same(found, scores, _TOLERANCE), "a saved model of it must give the same scores")
