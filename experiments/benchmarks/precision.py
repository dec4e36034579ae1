"""What bfloat16 changes: embeddings, and predictions of the default run."""

from __future__ import annotations

from typing import Literal

import numpy as np

from experiments.benchmarks import inputs
from experiments.benchmarks.measure import Benchmark, Timer
from fused_clip import PromptFusedClassifier
from fused_clip.dataset import Recipe, mnist_5k
from fused_clip.method.prompt import task

PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")


def compact(count: int, timer: Timer) -> dict[str, float]:
    """The default run: digits, compact backbone, both precisions; prediction differences in percent."""
    dataset = mnist_5k(Recipe(name="mnist_5k", n_train=count * 4 // 5, n_test=count // 5))
    prompts = task(dataset)
    targets = [prompts.target_of_class[split.labels] for split in (dataset.train, dataset.test)]
    rows, predicted = {}, {}
    for precision in PRECISIONS:
        backbone = inputs.compact(precision)
        text = backbone.encode_texts([texts[0] for texts in prompts.texts])
        with timer():
            train, test = (
                backbone.encode_images(list(split.images.read(split.rows)))
                for split in (dataset.train, dataset.test)
            )
        rows[precision] = np.concatenate([train, test])
        model = PromptFusedClassifier(text, random_state=0).fit(train, targets[0])
        predicted[precision] = model.predict(test)
    exact, rough = predicted["float32"], predicted["bfloat16"]
    return {
        **_compared(rows["float32"], rows["bfloat16"]),
        "accuracy_float32": float(np.mean(exact == targets[1])),
        "accuracy_bfloat16": float(np.mean(rough == targets[1])),
        "predictions_that_differ_percent": 100 * float(np.mean(exact != rough)),
    }


def vit_b_32(count: int, timer: Timer) -> dict[str, float]:
    """ViT-B/32 of a fixed seed, on digits."""
    images = list(mnist_5k(Recipe(name="mnist_5k")).train.images.read(np.arange(count)))
    rows = {}
    for precision in PRECISIONS:
        backbone = inputs.vit_b_32(count, precision)
        with timer():
            rows[precision] = backbone.encode_images(images)
    return _compared(rows["float32"], rows["bfloat16"])


def _compared(exact: np.ndarray, rough: np.ndarray) -> dict[str, float]:
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(rough, axis=1)
    cosines = np.einsum("ij,ij->i", exact, rough, dtype=np.float64) / lengths
    apart = np.linalg.norm(rough - exact, axis=1) / np.linalg.norm(exact, axis=1)
    return {
        "cosine_smallest": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
        "relative_difference_mean": float(apart.mean()),
        "relative_difference_largest": float(apart.max()),
    }


BENCHMARKS = (
    Benchmark("bfloat16", "compact", compact, (5_000,)),
    Benchmark("bfloat16", "ViT-B/32", vit_b_32, (512,)),
)
