"""What holds for every classifier of ``conf/classifier``, found by looking there."""

import copy
import dataclasses
import json
import pickle
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.base import clone
from sklearn.cluster import KMeans

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier, Training
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.conftest import make_blobs

PATHS = sorted(conf_dir().glob("classifier/*.yaml"))
EVERY = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
SHOTS = 6
BLOBS = make_blobs(n_train=30, spread=1.5)


@cache
def made(path: Path) -> Classifier:
    """With the defaults of its YAML; not fitted."""
    classifier = instantiate(OmegaConf.load(path), _convert_="all")
    assert isinstance(classifier, Classifier)
    return classifier


def training_of(path: Path, n_targets: int = 3, shots: int = SHOTS) -> Training:
    """Two clusters a class, and the labels of the first images of each for those that use labels."""
    kept = BLOBS.train_targets < n_targets
    targets, images = BLOBS.train_targets[kept], BLOBS.train[kept]
    rank = np.arange(len(targets)) % 30
    return Training(
        images,
        n_targets,
        (images + BLOBS.texts[targets]) / 2,
        2 * targets + rank % 2,
        np.repeat(np.arange(n_targets), 2),
        BLOBS.texts[:n_targets],
        np.arange(n_targets),
        np.where(rank < shots, targets, -1) if made(path).uses_labels else None,
        random_state=3,
    )


def fit(path: Path, training: Training) -> Classifier:
    return clone(made(path)).fit(training)  # type: ignore[no-any-return]


@cache
def fitted(path: Path) -> Classifier:
    return fit(path, training_of(path))


def scores(classifier: Classifier, rows: np.ndarray = BLOBS.test) -> np.ndarray:
    return classifier.target_scores(rows).values


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare scores on the scale of what sets the targets of a row apart."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    scale = float(np.ptp(expected[finite])) or 1.0
    np.testing.assert_allclose(found[finite], expected[finite], atol=tolerance * scale, rtol=0)


def test_there_are_classifiers() -> None:
    assert {"zero_shot", "linear_probe"} <= {path.stem for path in PATHS}


@EVERY
def test_a_score_of_each_target_for_each_row(path: Path) -> None:
    values = scores(fitted(path))
    assert values.shape == (len(BLOBS.test), 3)
    assert values.dtype.kind == "f"
    assert not np.isnan(values).any()
    assert not np.isposinf(values).any()
    assert np.isfinite(values).any(axis=1).all()
    assert (values.argmax(axis=1) == BLOBS.test_targets).mean() > 0.8


@EVERY
def test_targets_are_those_that_can_be_predicted(path: Path) -> None:
    classifier = fitted(path)
    carried = np.isin(np.arange(3), classifier.targets_)
    np.testing.assert_array_equal(np.isfinite(scores(classifier)).any(axis=0), carried)


@EVERY
def test_chosen_settings_are_numbers_by_name(path: Path) -> None:
    chosen = fitted(path).chosen_
    assert all(isinstance(name, str) and np.isfinite(float(value)) for name, value in chosen.items())


@EVERY
@pytest.mark.parametrize("shots", [SHOTS, 30])
def test_a_fit_changes_none_of_its_inputs(path: Path, shots: int) -> None:
    training = training_of(path, shots=shots)
    before = copy.deepcopy(training)
    scores(fit(path, training))
    for field in dataclasses.fields(training):
        own = getattr(training, field.name)
        if isinstance(own, np.ndarray):
            np.testing.assert_array_equal(own, getattr(before, field.name), err_msg=field.name)


@EVERY
def test_two_fits_are_equal_and_no_global_randomness_is_used(path: Path) -> None:
    state = pickle.dumps(np.random.get_state())  # noqa: NPY002
    first, second = (scores(fit(path, training_of(path))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert pickle.dumps(np.random.get_state()) == state  # noqa: NPY002


@EVERY
def test_the_order_of_targets_and_prompts_permutes_the_answers(path: Path) -> None:
    training, place = training_of(path), np.array([1, 2, 0])  # of each old target
    owner = np.argsort(place)
    prompts = np.array([2, 0, 1])  # of each old prompt
    moved = dataclasses.replace(
        training,
        texts=BLOBS.texts[np.argsort(prompts)],
        prompt_of_target=prompts[owner],
        cluster_targets=place[training.cluster_targets],
        targets=None if training.targets is None else np.append(place, -1)[training.targets],
    )
    before, after = scores(fitted(path)), scores(fit(path, moved))
    close(after, before[:, owner], 1e-3)
    np.testing.assert_array_equal(after.argmax(axis=1), place[before.argmax(axis=1)])


@EVERY
def test_the_order_of_new_rows_permutes_their_scores(path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(BLOBS.test))
    close(scores(fitted(path), BLOBS.test[order]), scores(fitted(path))[order], 1e-5)


@EVERY
def test_other_rows_have_no_part_in_a_score_unless_it_is_declared(path: Path) -> None:
    if made(path).transductive:
        pytest.skip("scores a batch")
    together = scores(fitted(path))
    alone = np.concatenate([scores(fitted(path), BLOBS.test[[row]]) for row in range(len(BLOBS.test))])
    close(alone, together, 1e-6)
    assert scores(fitted(path), BLOBS.test[:0]).shape == (0, 3)


@EVERY
def test_a_fitted_classifier_is_its_parameters_and_arrays(path: Path) -> None:
    classifier = fitted(path)
    params = json.loads(json.dumps(classifier.get_params()))
    arrays = {name: array.copy() for name, array in classifier.arrays().items()}
    assert all(array.dtype.kind in "fib" for array in arrays.values())
    again = type(classifier)(**params).restore(arrays, 3, training_of(path).fusion)
    np.testing.assert_array_equal(scores(again), scores(classifier))
    np.testing.assert_array_equal(again.targets_, classifier.targets_)
    assert set(again.arrays()) == set(classifier.arrays())


@EVERY
def test_a_class_without_a_label_is_told_by_its_text_or_not_predicted(path: Path) -> None:
    training = training_of(path)
    if not made(path).uses_labels:
        assert training.targets is None
        return
    hidden = np.where(training.targets == 1, -1, training.targets)
    values = scores(fit(path, dataclasses.replace(training, targets=hidden)))
    assert not np.isnan(values).any()
    assert np.isfinite(values[:, [0, 2]]).all()
    others = BLOBS.test_targets != 1
    assert (values.argmax(axis=1) == BLOBS.test_targets)[others].mean() > 0.8
    assert np.isfinite(values[:, 1]).all() if made(path).uses_text else np.isneginf(values[:, 1]).all()


@EVERY
@pytest.mark.parametrize("shots", [1, 2, 30])
def test_any_number_of_labels_will_do(path: Path, shots: int) -> None:
    values = scores(fit(path, training_of(path, shots=shots)))
    assert (values.argmax(axis=1) == BLOBS.test_targets).mean() > 0.6


@EVERY
def test_two_targets_will_do(path: Path) -> None:
    values = scores(fit(path, training_of(path, 2)), BLOBS.test[:40])
    assert values.shape == (40, 2)
    assert (values.argmax(axis=1) == BLOBS.test_targets[:40]).mean() > 0.8


@EVERY
def test_one_target_is_the_answer_or_a_clear_error(path: Path) -> None:
    try:
        values = scores(fit(path, training_of(path, 1)))
    except ValueError as error:
        if re.search("target|class|label", str(error)):
            return
        raise
    assert np.isfinite(values).all()
    assert values.shape == (len(BLOBS.test), 1)


@EVERY
def test_without_text_it_asks_for_prompts_or_does_without(path: Path) -> None:
    without = dataclasses.replace(training_of(path), texts=None, prompt_of_target=None)
    refused = ""
    try:
        fitted = fit(path, without)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert made(path).uses_text, "what declares no need must do without"
        assert "prompt" in refused
        return
    answers = fitted.target_scores(BLOBS.test).values.argmax(axis=1)
    assert (answers == BLOBS.test_targets).mean() > 0.9


@EVERY
def test_no_label_is_seen_beyond_the_known_ones(path: Path) -> None:
    """Wrong targets of rows whose label is not known change nothing; without labels, no target does."""
    known = np.arange(len(BLOBS.train)) % 30 < SHOTS
    wrong = (BLOBS.train_targets + 1) % 3
    seen = []
    for targets in (BLOBS.train_targets, np.where(known, BLOBS.train_targets, wrong)):
        model = PromptFusedClassifier(
            BLOBS.texts,
            clusterer=KMeans(n_init=1),
            vote="prompt",
            classifier=made(path),
            calibrate=False,
            random_state=0,
        )
        model.fit(BLOBS.train, targets, BLOBS.train_targets, labelled=known)
        seen.append(model.target_scores(BLOBS.test).values)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_texts_of_targets_are_unit_rows_and_need_prompts() -> None:
    texts, stands_for = np.array([[3.0, 4], [0, 2]]), np.array([1, 0, 1])
    rows = np.ones((4, 2))
    found = Training(rows, 3, texts=texts, prompt_of_target=stands_for).text_of_target
    np.testing.assert_allclose(found, [[0, 1], [0.6, 0.8], [0, 1]])
    for partly in ({}, {"texts": texts}, {"prompt_of_target": stands_for}):
        with pytest.raises(ValueError, match="this classifier needs prompts"):
            Training(rows, 3, **partly).text_of_target  # noqa: B018


def test_means_need_rows_and_clusters() -> None:
    rows, clusters = np.array([[1.0], [3], [5]]), np.array([0, 0, -1])
    whole = Training(rows, 1, rows, clusters, np.array([0]))
    np.testing.assert_array_equal(whole.centers, [[2]])
    np.testing.assert_array_equal(whole.means(10 * rows), [[20]])
    for lost in ("fused", "clusters", "cluster_targets"):
        with pytest.raises(ValueError, match="this classifier needs clusters"):
            dataclasses.replace(whole, **{lost: None}).centers  # noqa: B018


def test_a_subset_without_clusters_is_of_rows_and_targets() -> None:
    training = Training(np.arange(4.0)[:, None], 2, targets=np.array([0, 1, 1, 0]))
    some = training.subset(np.array([True, False, True, False]))
    assert some.images.ravel().tolist() == [0, 2]
    assert np.asarray(some.targets).tolist() == [0, 1]
    assert (some.clusters, some.cluster_targets, some.fused) == (None, None, None)


def test_what_each_classifier_is_given_is_what_the_documents_say() -> None:
    """A classifier that no longer says that it uses labels would be compared as one without."""
    found = {path.stem: made(path) for path in PATHS}
    by_text = {"mean_similarity", "zero_shot", "stata", "transclip", "zlap"}
    of_both = {
        "clap",
        "gda",
        "lp_plus_plus",
        "shrunk_mean",
        "tip_adapter",
        "tip_adapter_f",
        "transclip_few_shot",
    }
    of_clusters = {"constrained_centroid", "nearest_cluster_mean", "soft_constrained_centroid"}
    of_images = {"knn", "linear_probe", "nearest_class_mean"}
    assert set(found) == by_text | of_both | of_clusters | of_images
    assert {name for name, one in found.items() if one.uses_labels is True} == of_both | of_images
    assert {name for name, one in found.items() if one.uses_text is True} == by_text | of_both
    assert {name for name, one in found.items() if one.uses_clusters is True} == of_clusters
    batches = {"stata", "transclip", "transclip_few_shot", "zlap"}
    assert {name for name, one in found.items() if one.transductive is True} == batches


# Those that know a target by a text; the others refuse one.
BY_TEXT = {
    "clap", "constrained_centroid", "soft_constrained_centroid", "stata", "transclip", "transclip_few_shot",
    "zero_shot", "zlap",
}  # fmt: skip


@EVERY
def test_a_target_is_added_by_a_text_or_refused(path: Path) -> None:
    """A classifier of the first two targets, to which the third is added: rows of it are then its own."""
    classifier = fit(path, training_of(path, n_targets=2))
    before = copy.deepcopy(classifier.arrays())
    known = scores(classifier)
    text = BLOBS.texts[2:]
    if path.stem not in BY_TEXT:
        with pytest.raises(InputError, match=r"^target: can't be added"):
            classifier.with_target(text)
        return
    grown = classifier.with_target(text)
    assert classifier.arrays().keys() == before.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(classifier.arrays()[name], array)
    found = scores(grown)
    assert found.shape == (len(BLOBS.test), 3)
    assert np.isfinite(found).all()
    assert grown.targets_.tolist() == [0, 1, 2]
    if not classifier.transductive:
        np.testing.assert_allclose(found[:, :2], known)
    assert (found.argmax(axis=1) == BLOBS.test_targets).mean() > 0.9


@pytest.mark.parametrize("path", [path for path in PATHS if path.stem in BY_TEXT], ids=lambda path: path.stem)
def test_a_grown_classifier_is_data_and_grows_again(path: Path) -> None:
    grown = fit(path, training_of(path, n_targets=2)).with_target(BLOBS.texts[2:])
    restored = clone(made(path)).restore(grown.arrays(), 3, grown.fusion_)
    np.testing.assert_array_equal(scores(restored), scores(grown))
    twice = restored.with_target(-BLOBS.texts[2:])
    assert twice.targets_.tolist() == [0, 1, 2, 3]
    answers = scores(twice).argmax(axis=1)
    assert (answers == BLOBS.test_targets).mean() > 0.85


def test_a_classifier_that_does_not_say_what_it_predicts_is_named() -> None:
    class Silent(Classifier):
        def fit(self, training: Training) -> "Silent":
            return self

        def target_scores(self, X: object) -> object:
            raise AssertionError

    blobs = make_blobs()
    model = PromptFusedClassifier(clusterer=KMeans(4, random_state=0), classifier=Silent())
    with pytest.raises(InputError, match="classifier: fit must return self and set targets_.*Silent"):
        model.fit(blobs.train, blobs.train_targets)
