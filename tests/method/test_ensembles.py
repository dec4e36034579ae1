"""Prompts of several texts: what every option keeps, each method against a slow loop, and bad input."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from fused_clip import pipeline
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import checks, ensembles, pairing, prompt, text
from fused_clip.method.classifier import Training, ZeroShot
from fused_clip.method.fusion import mean
from fused_clip.method.parts import Method, TextInputs
from fused_clip.method.prompt import Prompts
from fused_clip.runner.build import make_method
from fused_clip.runner.config import check
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.signatures import keywords
from tests.conftest import Blobs
from tests.runner.test_config import composed
from tests.test_pipeline import BlobEmbedder, FakeBackbone, references_of

Float = NDArray[np.float32]
P, M, D = 4, 5, 12
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int = 0, n: int = 60) -> tuple[Float, Float, NDArray[np.int64]]:
    """Images around P directions, M texts near each, and the target of each image, some unknown."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(P, D))
    owners = rng.integers(0, P, n)
    images = middles[owners] + 0.7 * rng.normal(size=(n, D))
    templates = middles[:, None] + rng.uniform(0.3, 3, (1, M, 1)) * rng.normal(size=(P, M, D))
    return (
        images.astype(np.float32),
        templates.astype(np.float32),
        np.where(np.arange(n) % 3 == 0, -1, owners),
    )


def named(counts: list[int], target_names: tuple[str, ...] = tuple("abcd")) -> Prompts:
    texts = tuple(
        tuple(f"{name} {number}" for number in range(count))
        for name, count in zip(target_names, counts, strict=True)
    )
    return Prompts(texts, target_names, np.arange(len(counts)), np.arange(len(counts)))


def unit(rows: Float) -> Float:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_logits(images: Float, templates: Float) -> NDArray[np.float64]:
    """(n, m, p) 100 times each cosine similarity."""
    logits = np.zeros((len(images), templates.shape[1], len(templates)))
    for n, image in enumerate(images.astype(np.float64)):
        for p, texts in enumerate(templates.astype(np.float64)):
            for m, row in enumerate(texts):
                logits[n, m, p] = 100 * image @ row / np.linalg.norm(image) / np.linalg.norm(row)
    return logits


OPTIONS = [
    f"text={path.stem}"
    for path in sorted(conf_dir().glob("text/*.yaml"))
    if {"members", "templates"} & set(keywords(make_method(check(composed(f"text={path.stem}"))).text))
]
CHOICES = [
    *OPTIONS,
    "text=prompt",
    "text=zpe text.selection=select",
    "text=best text.per_class=true",
    "text=worst text.per_class=true",
]


def rows_of(
    option: str, images: Float, templates: Float, targets: NDArray[np.int64], order: Any = None
) -> Float:
    """What an option makes of the prompts, given in another order if asked for."""
    order = np.arange(len(templates)) if order is None else order
    prompts = named([templates.shape[1]] * len(templates))
    back = np.argsort(order)
    prompts = Prompts(
        tuple(prompts.texts[i] for i in order), prompts.target_names, prompts.target_of_class, back
    )
    members = list(templates[order])
    averaged = np.stack([text.ensemble(part) for part in members])
    inputs = TextInputs(averaged, members, prompts, images, targets, FakeBackbone())
    return make_method(check(composed(*option.split()))).text_rows(inputs)


def test_all_options_of_ensembles_are_found() -> None:
    found = {option.removeprefix("text=") for option in OPTIONS}
    assert found >= {"mean_similarity", "zpe", "carprt", "best", "worst"}


@pytest.mark.parametrize("option", CHOICES)
def test_every_template_twice_changes_nothing(option: str) -> None:
    images, templates, targets = drawn()
    once = rows_of(option, images, templates, targets)
    assert once.shape == (P, D)
    assert once.dtype == np.float32
    twice = np.concatenate([templates, templates], axis=1)
    np.testing.assert_allclose(rows_of(option, images, twice, targets), once, atol=1e-5)


@pytest.mark.parametrize("option", CHOICES)
def test_one_text_a_prompt_is_zero_shot(option: str) -> None:
    images, templates, targets = drawn()
    rows = rows_of(option, images, templates[:, :1], targets)
    np.testing.assert_allclose(unit(rows), unit(templates[:, 0]), atol=1e-6)


@pytest.mark.parametrize("option", CHOICES)
def test_prompts_in_another_order_are_the_same_rows_in_that_order(option: str) -> None:
    images, templates, targets = drawn()
    order = np.array([2, 0, 3, 1])
    moved = rows_of(option, images, templates, targets, order)
    np.testing.assert_allclose(moved, rows_of(option, images, templates, targets)[order], atol=1e-5)


@pytest.mark.parametrize("option", CHOICES)
def test_the_scale_of_images_does_not_matter(option: str) -> None:
    images, templates, targets = drawn()
    longer = images * np.linspace(0.5, 20, len(images), dtype=np.float32)[:, None]
    rows = rows_of(option, images, templates, targets)
    np.testing.assert_allclose(rows_of(option, longer, templates, targets), rows, atol=1e-5)


@pytest.mark.parametrize("option", CHOICES)
def test_rows_have_the_scale_of_texts(option: str) -> None:
    """A fusion of unnormalised rows needs it."""
    images, templates, targets = drawn()
    longer = rows_of(option, images, 10 * templates, targets)
    np.testing.assert_allclose(longer, 10 * rows_of(option, images, templates, targets), rtol=1e-4)


@pytest.mark.parametrize("option", [one for one in CHOICES if "best" not in one and "worst" not in one])
def test_labels_change_nothing_where_none_are_used(option: str) -> None:
    images, templates, targets = drawn()
    np.testing.assert_array_equal(
        rows_of(option, images, templates, targets), rows_of(option, images, templates, (targets + 1) % P)
    )


@settings(max_examples=25)
@given(seed=SEEDS)
def test_similarities_to_mean_rows_are_mean_similarities(seed: int) -> None:
    images, templates, _ = drawn(seed)
    members = [templates[0, :1], templates[1, :3], templates[2], templates[3, :2]]
    norm = np.mean([np.linalg.norm(row) for part in members for row in part])
    got = unit(images) @ ensembles.mean_similarity(members).T / norm
    for prompt_, part in enumerate(members):
        expected = np.mean([slow_logits(images, row[None, None])[:, 0, 0] for row in part], axis=0) / 100
        np.testing.assert_allclose(got[:, prompt_], expected, atol=1e-5)


def slow_zpe(logits: NDArray[np.float64]) -> list[float]:
    scores = []
    for m in range(logits.shape[1]):
        total = 0.0
        for n in range(len(logits)):
            total += max(
                logits[n, m, p] - (logits[:, m, p].mean() + logits[:, m, p].mean()) / 2
                for p in range(logits.shape[2])
            )
        scores.append(total / len(logits))
    return scores


@settings(max_examples=25)
@given(seed=SEEDS)
def test_zpe_weights_are_those_of_a_loop(seed: int) -> None:
    images, templates, _ = drawn(seed, n=12)
    scores = np.array(slow_zpe(slow_logits(images, templates)))
    expected = np.exp(scores - scores.max())
    np.testing.assert_allclose(ensembles.zpe_weights(templates, images), expected / expected.sum(), atol=1e-4)
    middle = sorted(scores)[M // 2]
    spread = sorted(abs(scores - middle))[M // 2]
    for threshold in (0.5, 2.0):
        kept = np.array([(score - middle) / spread > threshold for score in scores])
        weights = kept / kept.sum() if kept.any() else np.full(M, 1 / M)
        got = ensembles.zpe_weights(templates, images, "select", threshold)
        np.testing.assert_allclose(got, weights, atol=1e-12)


def biased(biases: NDArray[np.float64], middles: NDArray[np.float64]) -> tuple[Float, Float]:
    """Images that share a coordinate, and unit texts with `biases` there: constants of the logits."""
    rng = np.random.default_rng(3)
    images = rng.normal(size=(40, 6))
    images = np.hstack(
        [images / np.linalg.norm(images, axis=1, keepdims=True), np.ones((40, 1)), np.zeros((40, 1))]
    )
    rest = np.sqrt(1 - (middles**2).sum(axis=-1) - biases**2)
    texts = np.concatenate([middles, biases[..., None], rest[..., None]], axis=-1)
    return images.astype(np.float32), texts.astype(np.float32)


@pytest.mark.parametrize("selection", ["weights", "select"])
def test_a_constant_of_each_text_leaves_the_weights_of_zpe_as_they_are(selection: Any) -> None:
    rng = np.random.default_rng(4)
    middles = 0.2 * rng.normal(size=(P, M, 6))
    found = [
        ensembles.zpe_weights(*reversed(biased(biases, middles)), selection)
        for biases in (np.zeros((P, M)), rng.uniform(-0.4, 0.4, (P, M)))
    ]
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def slow_carprt(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    n, m, p = logits.shape
    weights = np.zeros((p, m))
    for prompt_ in range(p):
        for template in range(m):
            own = [logits[i, template].max() for i in range(n) if logits[i, template].argmax() == prompt_]
            weights[prompt_, template] = np.exp(np.mean(own)) if own else 0
        if not weights[prompt_].any():
            weights[prompt_] = 1
        weights[prompt_] /= weights[prompt_].sum()
    return weights


@settings(max_examples=25)
@given(seed=SEEDS)
def test_carprt_weights_are_those_of_a_loop(seed: int) -> None:
    images, templates, _ = drawn(seed, n=8)  # few enough that some prompts are nearest to no image
    expected = slow_carprt(slow_logits(images, templates))
    np.testing.assert_allclose(ensembles.carprt_weights(templates, images), expected, atol=1e-3)


def test_equal_templates_have_uniform_weights() -> None:
    images, templates, _ = drawn()
    equal = np.repeat(templates[:, :1], M, axis=1)
    np.testing.assert_allclose(ensembles.carprt_weights(equal, images), np.full((P, M), 1 / M), atol=1e-6)
    np.testing.assert_allclose(ensembles.zpe_weights(equal, images), np.full(M, 1 / M), atol=1e-6)


def test_a_prompt_that_is_nearest_to_no_image_has_uniform_weights() -> None:
    images, templates, _ = drawn()
    templates[2] = -images.mean(axis=0) * np.arange(1, M + 1)[:, None]
    weights = ensembles.carprt_weights(templates, images[(images @ images.mean(axis=0)) > 0])
    np.testing.assert_allclose(weights[2], np.full(M, 1 / M))
    assert np.ptp(weights[0]) > 0.01


def test_a_template_by_which_a_prompt_is_nearest_to_no_image_has_no_weight_there() -> None:
    """Also where all logits are negative, and that of no image, 0, would be the largest."""
    near, far = [-0.6, 0.8], [-1.0, 0.0]
    templates = np.array([[near, far], [far, near]], np.float32)
    weights = ensembles.carprt_weights(templates, np.array([[1, 0]], np.float32))
    np.testing.assert_array_equal(weights, np.eye(2))


@pytest.mark.parametrize("option", CHOICES)
def test_every_option_works_from_training_to_prediction(toy: ImageDataset, blobs: Blobs, option: str) -> None:
    parts = make_method(check(composed(*option.split(), "clusterer=kmeans", "clusterer.n_init=2")))
    prompts = prompt.custom(toy, templates=["a {}", "the {}"])
    some = [one for one in references_of(toy) if one.facts.name in ("rotated_text", "zero_shot")]
    result = pipeline.run(toy, prompts, FakeBackbone(), BlobEmbedder(blobs), parts, references=some)
    assert result.metrics["test/accuracy"] == 1
    assert {"rotated_text", "zero_shot"} == set(result.reference_predictions)


@pytest.mark.parametrize("option", ["text=zpe", "text=carprt", "text=mean_similarity"])
def test_options_without_labels_make_runs_without_labels(
    toy: ImageDataset, blobs: Blobs, option: str
) -> None:
    parts = make_method(
        check(composed(option, "clusterer=kmeans", "pairing=zero_shot", "vote=prompt", "labels.per_class=0"))
    )
    result = pipeline.run(toy, prompt.task(toy), FakeBackbone(), BlobEmbedder(blobs), parts)
    assert not result.uses_labels


def test_choosing_a_text_uses_labels(toy: ImageDataset) -> None:
    parts = make_method(
        check(composed("text=best", "pairing=zero_shot", "vote=prompt", "labels.per_class=0"))
    )
    with pytest.raises(InputError, match="text: this text part needs labels, and there are none"):
        checks.check(parts, toy, prompt.task(toy), FakeBackbone())


@pytest.mark.parametrize("best", [True, False])
def test_the_chosen_template_has_the_extreme_accuracy(best: bool) -> None:
    images, templates, targets = drawn(5)
    accuracies = []
    for template in range(M):
        training = Training(images, P, texts=templates[:, template], prompt_of_target=np.arange(P))
        answers = ZeroShot().fit(training).target_scores(images).values.argmax(axis=1)
        accuracies.append((answers == targets)[targets >= 0].mean())
    assert len(set(accuracies)) > 2
    expected = int(np.argmax(accuracies) if best else np.argmin(accuracies))
    rows = ensembles.chosen(templates.mean(1), templates, named([M] * P), images, targets, best)
    np.testing.assert_array_equal(rows, templates[:, expected])


@pytest.mark.parametrize("best", [True, False])
def test_the_text_chosen_for_each_class_has_the_extreme_margin(best: bool) -> None:
    images, templates, targets = drawn(6)
    targets[targets == 3] = -1
    averaged = templates.mean(axis=1)
    rows = ensembles.chosen(averaged, templates, named([M] * P), images, targets, best, per_class=True)
    cosines = slow_logits(images, templates)
    for target in range(3):
        own, others = targets == target, (targets >= 0) & (targets != target)
        margins = [cosines[own, m, target].mean() - cosines[others, m, target].mean() for m in range(M)]
        expected = int(np.argmax(margins) if best else np.argmin(margins))
        np.testing.assert_array_equal(rows[target], templates[target, expected])
    np.testing.assert_array_equal(rows[3], averaged[3])


def test_prompts_shared_by_targets_are_chosen_by_all_their_images() -> None:
    images, templates, targets = drawn(7)
    one = Prompts((("x",) * M,), tuple("abcd"), np.arange(P), np.zeros(P, int))
    for per_class in (False, True):
        rows = ensembles.chosen(templates[:1, 0], templates[:1], one, images, targets, True, per_class)
        assert (rows == templates[0]).all(axis=1).sum() == 1


@pytest.mark.parametrize("per_class", [False, True])
def test_no_text_is_chosen_without_a_label(per_class: bool) -> None:
    images, templates, targets = drawn()
    with pytest.raises(InputError, match="text: needs a labelled training image"):
        ensembles.chosen(templates[:, 0], templates, named([M] * P), images, targets * 0 - 1, True, per_class)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "best"}, r"text\.selection: .*got 'best'; choose from: weights, select"),
        ({"threshold": -1}, r"text\.threshold: must be at least 0, got -1"),
        ({"threshold": float("nan")}, r"text\.threshold: must be at least 0, got nan"),
    ],
)
def test_zpe_refuses_what_it_can_not_do(options: Any, message: str) -> None:
    images, templates, _ = drawn()
    with pytest.raises(InputError, match=message):
        ensembles.zpe(templates, images, **options)


def method(option: Any) -> Method:
    return Method(pairing.oracle, True, option, mean(), KMeans(), ZeroShot())


@pytest.mark.parametrize("option", [ensembles.zpe, ensembles.carprt, ensembles.chosen])
def test_templates_need_as_many_texts_for_every_prompt(toy: ImageDataset, option: Any) -> None:
    uneven = prompt.custom(toy, texts={"cat": ["a cat", "a kitten"]}, templates=["a {}"])
    with pytest.raises(InputError, match=r"^text: compares templates, .* got '1 to 2 texts'"):
        checks.check(method(option), toy, uneven, FakeBackbone())
    checks.check(method(ensembles.mean_similarity), toy, uneven, FakeBackbone())
    checks.check(method(option), toy, prompt.custom(toy, templates=["a {}", "the {}"]), FakeBackbone())
