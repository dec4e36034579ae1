"""The spacing of prompts, against distances computed one by one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fused_clip.method import spacing
from fused_clip.method.spacing import prompt_spacing

Rows = NDArray[np.float32]
IntArray = NDArray[np.int64]


def problem(n_rows: int = 300, dim: int = 6, seed: int = 0) -> tuple[Rows, Rows, IntArray]:
    """Prompts, and rows fused with them by the mean."""
    rng = np.random.default_rng(seed)
    prompts = rng.normal(size=(3, dim)).astype(np.float32)
    index = rng.integers(3, size=n_rows)
    images = rng.normal(size=(n_rows, dim)).astype(np.float32)
    return prompts / 2, (images + prompts[index]) / 2, index


def tenth(fused: Rows, index: IntArray) -> NDArray[np.float64]:
    """Distance of each row to its 10th neighbour of the same prompt."""
    return np.array(
        [
            np.sort(np.linalg.norm(fused[index == own].astype(float) - row, axis=1))[10]
            for row, own in zip(fused, index, strict=True)
        ]
    )


def test_it_is_the_least_distance_of_prompts_in_distances_of_neighbours() -> None:
    prompts, fused, index = problem()
    least = min(float(np.linalg.norm(prompts[i] - prompts[j])) for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = least / np.median(tenth(fused, index))
    assert prompt_spacing(prompts, fused, index, seed=0) == pytest.approx(expected, rel=1e-5)


def test_neighbours_of_other_prompts_do_not_count() -> None:
    """The same images with prompts all in one place: only the numerator is another."""
    prompts, fused, index = problem()
    together = fused - prompts[index]
    apart = prompt_spacing(prompts, fused, index, seed=0)
    assert prompt_spacing(prompts, together, index, seed=0) == pytest.approx(apart, rel=1e-5)


def test_of_many_rows_a_sample_is_measured_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fused, index = problem(n_rows=4_000)
    whole = 1 / np.median(tenth(fused, index))
    monkeypatch.setattr(spacing, "MOST_ROWS", 400)
    unit = np.array([[0.0], [1.0]])
    drawn = [prompt_spacing(unit, fused, index, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn == pytest.approx([whole] * 3, rel=0.1)


def test_a_prompt_with_few_rows_counts_with_its_furthest() -> None:
    fused = np.array([[0.0], [1.0], [3.0], [50.0]], dtype=np.float32)
    index = np.array([0, 0, 0, 1])
    unit = np.array([[0.0], [6.0]])
    assert prompt_spacing(unit, fused, index, seed=0) == pytest.approx(6 / 3), "of 3, 2 and 3"


@pytest.mark.parametrize("index", [[0, 0, 1, 1], [0, 1, 2, 3]])
def test_without_neighbours_that_are_apart_there_is_none(index: list[int]) -> None:
    fused = np.ones((4, 2), dtype=np.float32)
    assert prompt_spacing(np.eye(4), fused, np.array(index), seed=0) is None
