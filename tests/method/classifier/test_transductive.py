"""Transductive classifiers against slow loops straight from their papers, and their contract by discovery."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.budget import LabelBudget
from fused_clip.method.classifier import (
    Classifier,
    StatA,
    Training,
    TransClip,
    TransClipFewShot,
    ZeroShot,
    ZLaP,
    out_of_fold_scores,
)
from fused_clip.method.classifier.batch import Moments, neighbor_similarities
from fused_clip.method.classifier.stata import anchored_means, anchored_variance
from fused_clip.method.fusion import LinearFusion, l2_normalized
from fused_clip.metrics.calibration import fit_temperature
from fused_clip.support.arrays import Array, DoubleArray
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.conftest import Blobs, make_blobs


def made(path: Any) -> Classifier:
    classifier: Classifier = instantiate(OmegaConf.load(path))
    return classifier


ALL = {path.stem: made(path) for path in sorted((conf_dir() / "classifier").glob("*.yaml"))}
NAMES = [name for name, classifier in ALL.items() if classifier.transductive]


def training_of(blobs: Blobs, **changes: Any) -> Training:
    count = len(blobs.texts)
    index = np.arange(count)
    training = Training(blobs.train, count, texts=blobs.texts, prompt_of_target=index)
    return replace(training, **{"targets": blobs.train_targets, **changes})


def unit(rng: np.random.Generator, count: int, width: int = 5) -> DoubleArray:
    return l2_normalized(rng.normal(size=(count, width)))


def softmax_of(logits: list[float]) -> list[float]:
    odds = [np.exp(logit - max(logits)) for logit in logits]
    return [odd / sum(odds) for odd in odds]


def nearest_others(row: int, rows: DoubleArray, count: int) -> list[int]:
    others = [other for other in range(len(rows)) if other != row]
    return sorted(others, key=lambda other: -float(rows[row] @ rows[other]))[:count]


# Label propagation


def dense_propagation(
    rows: DoubleArray, texts: DoubleArray, *, alpha: float, neighbors: int, power: float
) -> DoubleArray:
    count, size = len(texts), len(texts) + len(rows)
    near = np.zeros((size, size))
    for i, row in enumerate(rows):
        for j in nearest_others(i, rows, neighbors - 1):
            near[count + i, count + j] = max(0.0, float(row @ rows[j]))
        closest = sorted(range(count), key=lambda target: -float(row @ texts[target]))
        for target in closest[: min(neighbors, count)]:
            near[count + i, target] = max(0.0, float(row @ texts[target])) ** power
    both = near + near.T
    degrees = both.sum(axis=1)
    scaled = np.diag(np.where(degrees > 0, degrees, 1) ** -0.5)
    inverse: DoubleArray = np.linalg.inv(np.eye(size) - alpha * scaled @ both @ scaled)
    return inverse[count:, :count]


@pytest.mark.parametrize("classes", [3, 8])
def test_label_propagation_is_the_dense_inverse(classes: int) -> None:
    rng = np.random.default_rng(classes)
    rows, texts = unit(rng, 50 - classes), unit(rng, classes)
    classifier = ZLaP().fit(Training(rows, classes, texts=texts, prompt_of_target=np.arange(classes)))
    got = np.exp(classifier.target_scores(3 * rows).values)
    expected = dense_propagation(rows, texts, alpha=0.3, neighbors=5, power=5)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got[expected > 1e-4], expected[expected > 1e-4], rtol=1e-3)


def test_the_graph_is_symmetric_without_loops_and_normalised() -> None:
    rng = np.random.default_rng(0)
    rows, texts = unit(rng, 20), unit(rng, 4)
    classifier = ZLaP().fit(Training(rows, 4, texts=texts, prompt_of_target=np.arange(4)))
    graph = classifier.graph(rows).toarray()
    np.testing.assert_allclose(graph, graph.T)
    assert (np.diag(graph) == 0).all()
    assert (graph[:4, :4] == 0).all(), "prompts are not joined"
    assert np.linalg.eigvalsh(graph).max() == pytest.approx(1)


def test_an_image_that_nothing_resembles_scores_all_targets_alike() -> None:
    texts = np.eye(4)[:2]
    rows = np.array([[1.0, 0, 0, 0], [1, 0.1, 0, 0], [-1, -1, 0, 0], [0, 0, 0, 0]])
    classifier = ZLaP().fit(Training(rows, 2, texts=texts, prompt_of_target=np.arange(2)))
    scores = classifier.target_scores(rows).values
    assert np.isfinite(scores).all()
    assert scores[:2].argmax(axis=1).tolist() == [0, 0]
    assert np.ptp(scores[2:], axis=1).tolist() == [0, 0]


# Mixtures


def slow_mixture(
    rows: DoubleArray,
    texts: DoubleArray,
    *,
    anchored: bool,
    text_weight: float = 1.0,
    support: tuple[DoubleArray, Array, float] | None = None,
    steps: tuple[int, int] = (10, 5),
) -> DoubleArray:
    """StatA, or TransCLIP with or without labels, one image and one class at a time."""
    n, count, width = len(rows), len(texts), rows.shape[1]
    labelled, known, gamma = support or (np.empty((0, width)), np.empty(0, int), 0.0)
    everywhere = np.concatenate([rows, labelled])
    near = [nearest_others(i, everywhere, 3) for i in range(n)]
    zero_shot = [softmax_of([100 * float(row @ text) for text in texts]) for row in rows]
    z = [list(one) for one in zero_shot]
    around_texts = (
        sum(zero_shot[i][k] * (rows[i] - texts[k]) ** 2 for i in range(n) for k in range(count)) / n
    )
    if anchored:
        means, variance = list(texts), around_texts
    else:
        means, variance = [], np.full(width, 1 / width)
        for k in range(count):
            own = labelled[known == k]
            confident = sorted(range(n), key=lambda i: -zero_shot[i][k])[:8]
            means.append((own if len(own) else rows[confident]).mean(axis=0))
    for _ in range(steps[0]):
        for _ in range(steps[1]):
            fixed = z + [[float(k == target) for k in range(count)] for target in known]
            z = [
                softmax_of(
                    [
                        text_weight * np.log(zero_shot[i][k])
                        - float((((rows[i] - means[k]) ** 2) / variance).sum()) / 2
                        + sum(max(0.0, float(rows[i] @ everywhere[j])) * fixed[j][k] for j in near[i])
                        for k in range(count)
                    ]
                )
                for i in range(n)
            ]
        weights = [(rows[i], z[i], 1.0 if anchored else 1 / n) for i in range(n)]
        one_hot = np.eye(count)[known]
        weights += [(labelled[i], list(one_hot[i]), gamma / len(labelled)) for i in range(len(labelled))]
        sizes = [sum(w * of[k] for _, of, w in weights) for k in range(count)]
        for k in range(count):
            mean = sum(w * of[k] * row for row, of, w in weights) / sizes[k]
            if anchored:
                b = sizes[k] / (sizes[k] + 1)
                mean = b * mean + (1 - b) * texts[k]
                mean = mean / np.linalg.norm(mean)
            means[k] = mean
        spread = sum(w * of[k] * (row - means[k]) ** 2 for row, of, w in weights for k in range(count))
        if anchored:
            spread = spread + sum(around_texts + (texts[k] - means[k]) ** 2 for k in range(count))
            variance = spread / (n + count)
        else:
            variance = spread / sum(w for _, _, w in weights)
    return np.log(z)


@pytest.fixture
def noisy() -> tuple[DoubleArray, DoubleArray, Array]:
    """30 unit rows near 3 of 4 texts, so near that zero-shot is unsure: rows, texts and targets."""
    rng = np.random.default_rng(3)
    texts = l2_normalized(np.ones(6) + 0.12 * rng.normal(size=(4, 6)))
    targets = np.arange(30) % 3
    return l2_normalized(texts[targets] + 0.05 * rng.normal(size=(30, 6))), texts, targets


def of_text(texts: DoubleArray, rows: DoubleArray, **changes: Any) -> Training:
    return Training(rows, len(texts), texts=2 * texts, prompt_of_target=np.arange(len(texts)), **changes)


def probabilities(scores: DoubleArray) -> DoubleArray:
    return np.asarray(np.exp(scores))


@pytest.mark.parametrize("kind", [StatA, TransClip])
def test_a_mixture_is_the_slow_one(
    kind: type[Classifier], noisy: tuple[DoubleArray, DoubleArray, Array]
) -> None:
    rows, texts, _ = noisy
    got = kind().fit(of_text(texts, rows)).target_scores(5 * rows).values
    expected = slow_mixture(rows, texts, anchored=kind is StatA)
    np.testing.assert_allclose(probabilities(got), probabilities(expected), atol=1e-5)
    unsure = (probabilities(expected).max(axis=1) < 0.999).sum()
    assert unsure > 2, "a test of ones and zeros would see little"


@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (10, 5)])
def test_the_mixture_with_labels_is_the_slow_one(
    steps: tuple[int, int], noisy: tuple[DoubleArray, DoubleArray, Array]
) -> None:
    rows, texts, targets = noisy
    labelled = np.array([0, 1, 3, 4])  # no label of the third and fourth class
    known = np.where(np.isin(np.arange(30), labelled), targets, -1)
    classifier = TransClipFewShot(outer_steps=steps[0], inner_steps=steps[1])
    classifier.fit(of_text(texts, rows, targets=known))
    batch = rows[5:]
    support = (rows[labelled], targets[labelled], float(classifier.gamma_[0]))
    expected = slow_mixture(batch, texts, anchored=False, text_weight=0.5, support=support, steps=steps)
    got = classifier.target_scores(batch).values
    np.testing.assert_allclose(probabilities(got), probabilities(expected), atol=1e-5)


def test_gamma_is_chosen_on_held_out_labels(noisy: tuple[DoubleArray, DoubleArray, Array]) -> None:
    rows, texts, targets = noisy
    few = TransClipFewShot().fit(of_text(texts, rows[:3], targets=targets[:3]))
    assert dict(few.chosen_) == {"gamma": 0.02}, "one label a class: none is held out"
    many = TransClipFewShot().fit(of_text(texts, rows, targets=targets))
    assert dict(many.chosen_) == {"gamma": 0.2}, "labels are worth more than the default"
    assert many.support_ is not None
    assert len(many.support_) == 30, "all labels take part, after the choice"


@given(st.integers(0, 1000), st.floats(0, 5), st.floats(0.1, 10))
def test_an_anchored_mean_lies_between_the_prompt_and_the_mean(seed: int, n: float, anchor: float) -> None:
    rng = np.random.default_rng(seed)
    rows, texts = unit(rng, 6), unit(rng, 2)
    assigned = np.zeros((6, 2))
    shares = rng.dirichlet(np.ones(6))
    assigned[:, 0] = n * shares
    means = anchored_means(Moments.of(rows, assigned), texts, anchor)
    b = n / (n + anchor)
    mixed = b * (shares @ rows) + (1 - b) * texts[0]
    np.testing.assert_allclose(means[0], mixed / np.linalg.norm(mixed), atol=1e-9)
    np.testing.assert_allclose(means[1], texts[1], atol=1e-12, err_msg="without images it is the prompt")


def test_with_ever_more_images_the_anchor_vanishes() -> None:
    rng = np.random.default_rng(0)
    rows, texts = unit(rng, 6), unit(rng, 1)
    mean = rows.mean(axis=0)

    def of_images(n: float) -> DoubleArray:
        return anchored_means(Moments.of(rows, np.full((6, 1), n / 6)), texts, 1)

    far = [np.linalg.norm(of_images(n)[0] - mean / np.linalg.norm(mean)) for n in (0, 10, 1e3, 1e7)]
    assert (np.diff(far) < 0).all()
    assert far[-1] < 1e-5
    np.testing.assert_allclose(of_images(0), texts)


def test_the_anchored_variance_minimises_its_likelihood() -> None:
    rng = np.random.default_rng(1)
    rows, texts = unit(rng, 12), unit(rng, 3)
    assigned = rng.dirichlet(np.ones(3), size=12)
    means = anchored_means(Moments.of(rows, assigned), texts, 1)
    of_texts = rng.uniform(0.5, 2, size=5)

    def loss(variance: DoubleArray) -> float:
        images = sum(
            assigned[i, k] * (np.log(variance) + (rows[i] - means[k]) ** 2 / variance).sum()
            for i in range(12)
            for k in range(3)
        )
        anchors = sum(
            (np.log(variance) + (of_texts + (texts[k] - means[k]) ** 2) / variance).sum() for k in range(3)
        )
        return float(images + anchors)

    best = anchored_variance(Moments.of(rows, assigned), means, texts, of_texts, 1)
    for step in np.eye(5) * 1e-5:
        assert (loss(best + step) - loss(best - step)) / 2e-5 == pytest.approx(0, abs=1e-4)
    nothing = Moments.of(rows[:0], assigned[:0])
    empty = anchored_variance(nothing, texts, texts, of_texts, 1)
    np.testing.assert_allclose(empty, of_texts, atol=1e-8, err_msg="without images it is the texts'")


def test_scatter_is_the_weighted_sum_of_squares() -> None:
    rng = np.random.default_rng(0)
    rows, means, assigned = unit(rng, 7), unit(rng, 3), rng.uniform(size=(7, 3))
    expected = sum(assigned[i, k] * (rows[i] - means[k]) ** 2 for i in range(7) for k in range(3))
    np.testing.assert_allclose(Moments.of(rows, assigned).scatter(means), expected)


@pytest.mark.parametrize("count", [1, 3, 9, 40])
def test_neighbours_are_the_most_similar_other_rows(count: int) -> None:
    rows = unit(np.random.default_rng(2), 10)
    queries = rows[:6]
    expected = np.zeros((6, 10))
    for i in range(6):
        for j in nearest_others(i, rows, count):
            expected[i, j] = max(0.0, float(rows[i] @ rows[j]))
    np.testing.assert_allclose(neighbor_similarities(queries, rows, count).toarray(), expected)


def test_of_batches_of_few_classes_the_anchored_mixture_keeps_zero_shot() -> None:
    rng = np.random.default_rng(5)
    texts = unit(rng, 30, 24)
    accuracies = {kind: [] for kind in (ZeroShot, StatA, TransClip)}  # type: ignore[var-annotated]
    for _ in range(15):
        targets = rng.choice(rng.choice(30, rng.integers(1, 5), replace=False), 64)
        rows = texts[targets] + 0.25 * rng.normal(size=(64, 24))
        for kind, found in accuracies.items():
            scores = kind().fit(of_text(texts, rows)).target_scores(rows).values
            found.append((scores.argmax(axis=1) == targets).mean())
    means = {kind: float(np.mean(found)) for kind, found in accuracies.items()}
    assert means[StatA] > means[ZeroShot] - 0.01 > means[TransClip] + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_forgets(name: str, blobs: Blobs) -> None:
    first, again = (
        made(conf_dir() / "classifier" / f"{name}.yaml"),
        made(conf_dir() / "classifier" / f"{name}.yaml"),
    )
    again.fit(training_of(make_blobs(n_classes=5, spread=3.0)))
    scores = [one.fit(training_of(blobs)).target_scores(blobs.test).values for one in (first, again)]
    np.testing.assert_array_equal(*scores)


# Contract


@pytest.mark.parametrize("name", NAMES)
def test_a_single_image_is_refused_and_no_image_is_no_error(name: str, blobs: Blobs) -> None:
    classifier = ALL[name].fit(training_of(blobs))
    with pytest.raises(ValueError, match="needs a batch of at least 2 images, got 1"):
        classifier.target_scores(blobs.test[:1])
    assert classifier.target_scores(blobs.test[:0]).values.shape == (0, 3)
    assert classifier.target_scores(blobs.test[:2]).values.shape == (2, 3)


@pytest.mark.parametrize("name", [name for name in ALL if name not in NAMES])
def test_other_classifiers_answer_for_a_single_image(name: str, blobs: Blobs) -> None:
    clusters = 2 * blobs.train_targets + np.arange(120) % 2
    fused = (blobs.train + blobs.texts[blobs.train_targets]) / 2
    training = training_of(blobs, fused=fused, clusters=clusters, cluster_targets=np.repeat(np.arange(3), 2))
    classifier = ALL[name].fit(training)
    whole = classifier.target_scores(blobs.test).values
    for row in range(0, 60, 7):
        alone = classifier.target_scores(blobs.test[row : row + 1]).values
        np.testing.assert_allclose(alone[0], whole[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_answers_depend_on_the_batch(name: str) -> None:
    hard = make_blobs(spread=6.0)
    classifier = ALL[name].fit(training_of(hard))
    whole = classifier.target_scores(hard.test).values
    part = classifier.target_scores(hard.test[:30]).values
    assert not np.allclose(whole[:30], part)


@pytest.mark.parametrize("name", NAMES)
def test_permuting_classes_permutes_answers(name: str) -> None:
    hard = make_blobs(n_classes=6, spread=3.0)
    straight = ALL[name].fit(training_of(hard)).target_scores(hard.test).values
    order = np.random.default_rng(0).permutation(6)
    place = np.argsort(order)
    changed = replace(training_of(hard), prompt_of_target=order, targets=place[hard.train_targets])
    permuted = ALL[name].fit(changed).target_scores(hard.test).values
    np.testing.assert_allclose(np.exp(permuted), np.exp(straight[:, order]), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_permuting_images_permutes_answers(name: str) -> None:
    hard = make_blobs(spread=3.0)
    classifier = ALL[name].fit(training_of(hard))
    order = np.random.default_rng(0).permutation(len(hard.test))
    whole = classifier.target_scores(hard.test).values
    shuffled = classifier.target_scores(hard.test[order]).values
    np.testing.assert_allclose(np.exp(shuffled), np.exp(whole[order]), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_one_gives_the_same_scores(name: str, blobs: Blobs) -> None:
    classifier = made(conf_dir() / "classifier" / f"{name}.yaml").fit(training_of(blobs))
    again = made(conf_dir() / "classifier" / f"{name}.yaml")
    again.restore(classifier.arrays(), 3, LinearFusion())
    np.testing.assert_array_equal(
        again.target_scores(blobs.test).values, classifier.target_scores(blobs.test).values
    )
    arrays = classifier.arrays()
    arrays["text_of_target"] = arrays["text_of_target"][:2]
    with pytest.raises(ValueError, match="text_of_target must have 3 rows"):
        again.restore(arrays, 3, LinearFusion())


@pytest.mark.parametrize("name", NAMES)
def test_without_prompts_it_says_that_it_needs_them(name: str, blobs: Blobs) -> None:
    with pytest.raises(ValueError, match="needs prompts"):
        ALL[name].fit(Training(blobs.train, 3, targets=blobs.train_targets))


@pytest.mark.parametrize("name", NAMES)
def test_equal_images_and_zero_rows_have_finite_scores(name: str, blobs: Blobs) -> None:
    classifier = ALL[name].fit(training_of(blobs))
    for rows in (np.tile(blobs.test[:1], (9, 1)), np.zeros((2, 16), np.float32)):
        assert np.isfinite(classifier.target_scores(rows).values).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_class_is_the_answer(name: str, blobs: Blobs) -> None:
    training = Training(
        blobs.train, 1, texts=blobs.texts[:1], prompt_of_target=np.zeros(1, int), targets=np.zeros(120, int)
    )
    assert ALL[name].fit(training).target_scores(blobs.test).values.shape == (60, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("per_class", [1, 2, None])
def test_folds_are_batches(name: str, per_class: int | None, blobs: Blobs) -> None:
    known = LabelBudget(per_class, 0).known(blobs.train_targets)
    clusters = training_of(blobs, clusters=blobs.train_targets, cluster_targets=np.arange(3), targets=known)
    scores = out_of_fold_scores(ALL[name], clusters, known)
    held_out = np.isfinite(scores).any(axis=1)
    # One label a class is one fold, which leaves no label to learn from.
    scored = (known >= 0) & (per_class != 1 or not ALL[name].uses_labels)
    np.testing.assert_array_equal(held_out, scored)
    assert fit_temperature(scores[known >= 0], known[known >= 0]) > 0


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_folds_of_next_to_no_label_do_not_crash(labels: int, blobs: Blobs) -> None:
    known = np.full(120, -1)
    known[[0, 40, 80][:labels]] = [0, 1, 2][:labels]
    clusters = training_of(blobs, clusters=blobs.train_targets, cluster_targets=np.arange(3), targets=known)
    for name in NAMES:
        scores = out_of_fold_scores(ALL[name], clusters, known)
        # One fold has all labels: what learns from labels is left without any.
        scored = labels if labels > 1 and not ALL[name].uses_labels else 0
        assert np.isfinite(scores).any(axis=1).sum() == scored


@pytest.mark.parametrize("name", NAMES)
def test_the_estimator_predicts_batches(name: str, blobs: Blobs) -> None:
    model = PromptFusedClassifier(blobs.texts, classifier=ALL[name], random_state=0)
    model.fit(blobs.train, blobs.train_targets)
    np.testing.assert_array_equal(model.predict(blobs.test), blobs.test_targets)
    np.testing.assert_allclose(model.predict_proba(blobs.test).sum(axis=1), 1)
    with pytest.raises(ValueError, match="at least 2 images"):
        model.predict(blobs.test[:1])


def test_labelled_rows_must_fit_together(blobs: Blobs) -> None:
    classifier = TransClipFewShot().fit(training_of(blobs))
    for change, message in (
        ({"support_targets": np.full(120, 3)}, "support_targets must be in"),
        ({"gamma": np.zeros(1)}, "gamma must be a number above 0"),
        ({"support": np.full((120, 16), np.nan, np.float32)}, "support is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            TransClipFewShot().restore({**classifier.arrays(), **change}, 3, LinearFusion())


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (ZLaP, {"alpha": 1.0}, "classifier.alpha: must be a number, at least 0 and at most 0.99, got 1.0"),
        (ZLaP, {"alpha": -0.1}, "classifier.alpha"),
        (ZLaP, {"neighbors": 1}, "classifier.neighbors: must be a whole number, at least 2"),
        (StatA, {"anchor": -1}, "classifier.anchor"),
        (StatA, {"outer_steps": 0}, "classifier.outer_steps"),
        (TransClip, {"text_weight": float("inf")}, "classifier.text_weight"),
        (TransClip, {"confident": 0}, "classifier.confident"),
        (TransClipFewShot, {"scale": "large"}, "classifier.scale"),
    ],
)
def test_settings_out_of_range_are_refused(kind: type[Classifier], params: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**params)
