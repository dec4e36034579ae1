import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fused_clip.method.classifier import Training, ZeroShot
from fused_clip.method.ensembles import mean_similarity

Float = NDArray[np.float32]


def drawn(seed: int, counts: list[int], dim: int = 6) -> tuple[Float, list[Float]]:
    """Images, and the texts of each prompt, of unequal norms."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(30, dim)) * rng.uniform(0.5, 9, (30, 1))
    members = [rng.normal(size=(count, dim)) * rng.uniform(0.5, 9, (count, 1)) for count in counts]
    return images.astype(np.float32), [part.astype(np.float32) for part in members]


def slow_mean_similarities(images: Float, members: list[Float]) -> NDArray[np.float64]:
    """Cosine similarity of each image with each text, averaged over the texts of a prompt."""
    found = np.zeros((len(images), len(members)))
    for row, image in enumerate(images):
        for prompt, texts in enumerate(members):
            for text in texts:
                found[row, prompt] += image @ text / np.linalg.norm(image) / np.linalg.norm(text) / len(texts)
    return found


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), counts=st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_answers_are_those_of_similarities_averaged_in_a_loop(seed: int, counts: list[int]) -> None:
    images, members = drawn(seed, counts)
    rows = mean_similarity(members)
    training = Training(images, len(rows), texts=rows, prompt_of_target=np.arange(len(rows)))
    scores = ZeroShot(normalize_texts=False).fit(training).target_scores(images).values
    expected = slow_mean_similarities(images, members)
    longest = max(
        np.linalg.norm((part / np.linalg.norm(part, axis=1, keepdims=True)).mean(0)) for part in members
    )
    np.testing.assert_allclose(scores, expected / longest - 1, atol=1e-5)
    assert scores.min() >= -2 - 1e-6
    assert scores.max() <= 1e-6


def test_rows_of_unequal_length_change_answers_unless_normalised() -> None:
    texts = np.array([[0.1, 0], [0.8, 0.8]], np.float32)
    images = np.array([[1, 0.1]], np.float32)
    training = Training(images, 2, texts=texts, prompt_of_target=np.arange(2))
    answers = [
        ZeroShot(normalize_texts=flag).fit(training).target_scores(images).values.argmax()
        for flag in (True, False)
    ]
    assert answers == [0, 1]


def test_it_needs_prompts() -> None:
    with pytest.raises(ValueError, match="needs prompts"):
        ZeroShot(normalize_texts=False).fit(Training(np.ones((2, 2), np.float32), 2))
