"""What the benchmarks of embedding say of this machine, held to what the project promises: ratios alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.benchmarks import embedding, inputs, precision, preprocessing
from experiments.benchmarks.measure import Benchmark, Timer

FEW = 4  # images of every test, so that they share ViT-B/32, which takes seconds to make


def test_counted_operations_are_those_of_the_architecture() -> None:
    layer = 12 * 768**2 * 50 + 2 * 50**2 * 768  # multiplications: products of a layer, and attention
    patches, projection = 49 * 3072 * 768, 768 * 512
    assert inputs.image_flops(inputs.VIT_B_32) == 2 * (12 * layer + patches + projection)


def test_stored_images_come_back_pixel_by_pixel(tmp_path: Path) -> None:
    images = inputs.stored_images(tmp_path, 1_003, side=8)
    assert len(images) == 1_003
    for row, image in zip((0, 1_002), images.read(np.array([0, 1_002])), strict=True):
        np.testing.assert_array_equal(image, inputs.crop(row, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmark", [one for one in embedding.BENCHMARKS if not one.peer], ids=lambda one: one.name
)
def test_each_embeds(benchmark: Benchmark) -> None:
    timer = Timer()
    facts = benchmark.run(FEW, timer)
    assert 0 < timer.start_gb <= timer.peak_gb
    assert facts["images_per_second"] > 0
    assert facts.get("of_bound", 0.5) > 0.05


@pytest.mark.slow
def test_bfloat16_points_where_float32_does_and_predicts_the_same() -> None:
    facts = precision.compact(1_000, Timer())
    assert facts["cosine_smallest"] >= 0.999
    assert facts["predictions_that_differ_percent"] <= 0.3
    assert round(abs(facts["accuracy_bfloat16"] - facts["accuracy_float32"]), 6) <= 0.003


@pytest.mark.slow
def test_vit_b_32_in_bfloat16_points_where_it_does_in_float32() -> None:
    assert precision.vit_b_32(FEW, Timer())["cosine_smallest"] >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", preprocessing.SHAPES)
def test_preprocessing_gives_the_embeddings_of_pil(name: str, interpolation: str) -> None:
    facts = preprocessing.compare(FEW, Timer(), preprocessing.SHAPES[name], interpolation)
    assert facts["pixels_largest"] <= (16 if name == "tall" else 2.001)
    assert facts["pixels_mean"] <= (0.3 if name == "tall" else 0.1)
    assert facts["embeddings_largest"] <= 0.02


@pytest.mark.slow
def test_preprocessing_is_twenty_times_as_fast_as_vit_b_32() -> None:
    backbone, timer = inputs.vit_b_32(FEW), Timer()
    images = [inputs.crop(row, 32, 32) for row in range(FEW)]
    pixels = backbone.prepare(images)

    def least(step: Callable[[], object]) -> float:
        """CPU seconds of the run that other processes shook least."""
        taken = []
        for _ in range(4):
            with timer():
                step()
            taken.append(timer.cpu_seconds)
        return min(taken)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other, and be counted, where others run too
    try:
        encoding = least(lambda: backbone.encode_prepared([pixels]))
        preparing = least(lambda: backbone.prepare(images))
    finally:
        torch.set_num_threads(threads)
    assert encoding >= 20 * preparing
