"""A small set of images as Hugging Face writes it, and where the real ones are."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NAMES = ("cat", "dog", "cow", "hen")


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """(n, 8, 8, 3) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, size=(n, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def hf_split() -> Callable[..., Any]:
    """Make a `datasets.Dataset` of random pictures with the given labels."""

    def make(
        labels: list[Any], names: tuple[str, ...] | None = NAMES, image: str = "img", seed: int = 0
    ) -> Any:
        import datasets

        kind = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
        if labels and isinstance(labels[0], str):
            kind = datasets.Value("string")
        features = datasets.Features({image: datasets.Image(), "label": kind})
        return datasets.Dataset.from_dict(
            {image: list(pictures(len(labels), seed)), "label": labels}, features=features
        )

    return make


@pytest.fixture
def mirror(tmp_path: Path, hf_split: Callable[..., Any]) -> Path:
    """``<mirror>/pets/{train,test}-*.parquet``: 10 and 6 images a class, in shuffled order."""
    folder = tmp_path / "mirror" / "pets"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for seed, (split, count) in enumerate((("train", 10), ("test", 6))):
        labels = rng.permutation(np.repeat(range(4), count)).tolist()
        hf_split(labels, seed=seed).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder.parent


@pytest.fixture
def real_data() -> str:
    """Directory of the real sets; skips where there is none."""
    folder = os.environ.get("FUSED_CLIP_DATA")
    if not folder:
        pytest.skip("FUSED_CLIP_DATA names no mirror of the real sets")
    return folder
