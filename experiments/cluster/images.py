"""A folder of images for shards, from CIFAR-10 as it lies offline; past its end or without it, of noise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

COUNT = 20_000
_TEST = 0.1  # of them, for the second split
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make_images(root: Path, count: int = COUNT) -> Path:
    """Write images into ``<root>/train/<class>`` and ``<root>/test/<class>``, unless they're there.

    Parameters
    ----------
    root : folder; it is there once it is complete.
    count : of images.
    """
    if root.is_dir():
        return root
    draft = root.with_name(f"{root.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for number, (image, label) in enumerate(_images(count)):
        split = "test" if number < _TEST * count else "train"
        folder = draft / split / _CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05d}.png").write_bytes(image)
    draft.rename(root)
    return root


def _images(count: int) -> list[tuple[bytes, int]]:
    table = Path(os.environ.get("FUSED_CLIP_DATA", "")) / "cifar10" / "train-00000-of-00001.parquet"
    if not table.is_file():
        return [_noise(number) for number in range(count)]
    import pyarrow.parquet as pq

    columns = pq.read_table(table, columns=["img", "label"]).slice(0, count).to_pydict()
    images = [image["bytes"] for image in columns["img"]]
    real = list(zip(images, columns["label"], strict=True))
    return [*real, *(_noise(number) for number in range(len(real), count))]


def _noise(number: int) -> tuple[bytes, int]:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), number % len(_CLASSES)
