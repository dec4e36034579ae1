"""Pairing that the clusters correct."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method import pairing
from fused_clip.support.errors import InputError

Ints = NDArray[np.int64]
TEXTS = np.eye(3, dtype=np.float32)


def leaning(*shares: tuple[float, float, float]) -> NDArray[np.float32]:
    """An image with these cosines to the three prompts, up to its length."""
    return np.array(shares, dtype=np.float32)


def always(clusters: object) -> Callable[[Ints], Ints]:
    return lambda index: np.asarray(clusters)


def test_an_image_that_wavers_follows_its_cluster_and_one_that_is_sure_does_not() -> None:
    images = leaning((1, 0, 0), (1, 0, 0), (1, 0, 0), (0.70, 0.7001, 0), (0, 1, 0), (0, 1, 0))
    paired = pairing.adaptive(images, TEXTS, always([0, 0, 0, 0, 0, 1]))
    assert pairing.zero_shot(images, TEXTS).tolist() == [0, 0, 0, 1, 1, 1]
    assert paired.prompts.tolist() == [0, 0, 0, 0, 1, 1]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 1.0]))
@settings(max_examples=50)
def test_one_round_is_bayes_rule_a_row_at_a_time(seed: int, temperature: float) -> None:
    random = np.random.default_rng(seed)
    images, texts = random.normal(size=(30, 8)), random.normal(size=(4, 8))
    clusters = random.integers(3, size=30)
    first = pairing.zero_shot(images, texts)
    expected = []
    for image, cluster in zip(images, clusters, strict=True):
        cosines = [image @ text / np.linalg.norm(image) / np.linalg.norm(text) for text in texts]
        prior = [np.mean(first[clusters == cluster] == prompt) for prompt in range(4)]
        likelihood = np.exp((np.array(cosines) - max(cosines)) / temperature)
        expected.append(int(np.argmax(likelihood * prior)))
    paired = pairing.adaptive(images, texts, always(clusters), rounds=1, temperature=temperature).prompts
    if set(first) <= set(expected):
        np.testing.assert_array_equal(paired, expected)
    assert set(first) == set(paired), "no prompt is lost, and none is new"


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=50)
def test_no_prompt_is_ever_lost_whatever_the_clusters(seed: int, rounds: int) -> None:
    random = np.random.default_rng(seed)
    images, texts = random.normal(size=(20, 6)), random.normal(size=(6, 6))
    paired = pairing.adaptive(
        images, texts, lambda index: random.integers(-1, 2, size=20), "fused", rounds, temperature=1.0
    )
    assert set(paired.prompts) == set(pairing.zero_shot(images, texts))
    (curve,) = paired.curves
    assert 1 <= len(curve.x) <= rounds
    changed, agreed = curve.series.values()
    assert agreed[-1] == (paired.prompts == pairing.zero_shot(images, texts)).mean()
    assert len(changed) == len(agreed) == len(curve.x)


def test_a_prompt_whose_last_image_wavers_keeps_it() -> None:
    images = leaning((1, 0, 0), (1, 0, 0), (1, 0, 0), (0.70, 0.7001, 0))
    assert pairing.adaptive(images, TEXTS, always([0, 0, 0, 0])).prompts.tolist() == [0, 0, 0, 1]


def test_images_given_back_are_not_another_prompts_last() -> None:
    """The first prompt's image would go to the second, whose own would go to the third."""
    images = leaning((0.7001, 0.70, 0), (0, 0.7001, 0.70), (0, 0.7001, 0.70), *[(0, 0, 1)] * 5)
    assert pairing.adaptive(images, TEXTS, always([0] * 8)).prompts.tolist() == [0, 1, 1, 2, 2, 2, 2, 2]


def test_clusters_that_follow_the_pairing_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    images = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    with caplog.at_level(logging.INFO):
        paired = pairing.adaptive(images, TEXTS, lambda index: index, "fused")
    np.testing.assert_array_equal(paired.prompts, pairing.zero_shot(images, TEXTS))
    assert paired.curves[0].x == (1.0,)
    assert list(paired.curves[0].series.values()) == [(0.0,), (1.0,)]
    assert "round 1: 0.00 % of the images got another prompt, 100.00 % have that of zero-shot" in caplog.text


def test_noise_keeps_its_prompt() -> None:
    images = leaning((1, 0, 0), (1, 0, 0), (1, 0, 0), (0.70, 0.7001, 0), (0.70, 0.7001, 0))
    assert pairing.adaptive(images, TEXTS, always([0, 0, 0, 0, -1])).prompts.tolist() == [0, 0, 0, 0, 1]


def test_it_ends_when_a_pairing_comes_again() -> None:
    """Clusters that swap the two that waver between the pairings, for ever."""
    images = leaning((0.7001, 0.70, 0), (0.70, 0.7001, 0), *[(1, 0, 0)] * 5, *[(0, 1, 0)] * 5)
    calls = []

    def swapping(index: Ints) -> Ints:
        calls.append(index.copy())
        first = 0 if index[0] else 1
        return np.array([first, 1 - first, *[0] * 5, *[1] * 5])

    paired = pairing.adaptive(images, TEXTS, swapping, "fused", rounds=50)
    assert len(calls) == 2
    assert paired.prompts.tolist()[:2] == [0, 1]


def test_clusters_of_images_know_nothing_of_the_pairing_and_are_found_once() -> None:
    images = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    calls = []

    def partition(index: Ints) -> Ints:
        calls.append(index.copy())
        return np.arange(30) % 3

    paired = pairing.adaptive(images, TEXTS, partition, temperature=1.0)
    assert [set(index) for index in calls] == [{0}]
    assert len(paired.curves[0].x) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters_of": "image"}, r"^pairing\.clusters_of: .*did you mean 'images'"),
        ({"rounds": 0}, r"^pairing\.rounds: must be at least 1, got 0"),
        ({"temperature": -1}, r"^pairing\.temperature: must be positive, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pairing.adaptive(np.ones((3, 3)), TEXTS, always([0, 0, 0]), **options)
