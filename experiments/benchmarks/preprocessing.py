"""The batched preprocessing against open_clip's PIL transform: pixels, embeddings, speed."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from experiments.benchmarks import inputs
from experiments.benchmarks.measure import Benchmark, Timer
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.preprocessing import DEFAULTS, Preprocessing

SHAPES = {"up": (32, 32), "down": (420, 420), "wide": (210, 400), "tall": (400, 210)}
SIDE = 224
EMBEDDED = 32  # images whose embeddings are compared


def compare(count: int, timer: Timer, shape: tuple[int, int], interpolation: str) -> dict[str, float]:
    """Prepare `count` images both ways; differences of pixels are in levels of 255.

    Embeddings are ViT-B/32's of a fixed seed in float32, their difference relative to their length. How many
    times as fast as ViT-B/32 is by the precision of this machine.
    """
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    images = [inputs.crop(index, *shape) for index in range(count)]
    chosen: Any = {**DEFAULTS, "interpolation": interpolation}
    steps = Preprocessing.from_config(SIDE, chosen)
    transform = image_transform_v2(PreprocessCfg(size=SIDE, **chosen), is_train=False)
    batches = [images[start : start + inputs.BATCH] for start in range(0, count, inputs.BATCH)]
    backbone = inputs.vit_b_32(count)
    dtype = backbone._torch_dtype
    steps(batches[0], dtype=dtype)
    with timer():
        prepared = [steps(batch, dtype=dtype) for batch in batches]
    start = time.perf_counter()
    for batch in batches:
        torch.stack([transform(Image.fromarray(image)) for image in batch])
    seconds = time.perf_counter() - start
    encoding = _seconds_of_encoding(backbone, prepared)
    ours = torch.cat([steps(batch) for batch in batches])
    theirs = torch.stack([transform(Image.fromarray(image)) for image in images])
    levels = 255 * torch.tensor(steps.std).view(3, 1, 1) * (ours - theirs).abs()
    a, b = _embedded(ours[:EMBEDDED]), _embedded(theirs[:EMBEDDED])
    apart = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
    return {
        "pixels_largest": float(levels.max()),
        "pixels_mean": float(levels.mean()),
        "embeddings_largest": float(apart.max()),
        "embeddings_mean": float(apart.mean()),
        "images_per_second": count / timer.seconds,
        "times_PIL": seconds / timer.seconds,
        "times_ViT-B/32": encoding / timer.seconds,
    }


def _seconds_of_encoding(backbone: OpenClipBackbone, prepared: list[Any]) -> float:
    backbone.encode_prepared(prepared[:1])
    start = time.perf_counter()
    for pixels in prepared:
        backbone.encode_prepared([pixels])
    return time.perf_counter() - start


def _embedded(pixels: Any) -> Any:
    import torch

    with torch.inference_mode():
        return inputs.vit_b_32(len(pixels), "float32")._towers.encode_image(pixels).numpy()


BENCHMARKS = tuple(
    Benchmark(
        "preprocessing",
        f"{interpolation}, {name} from {shape[0]} x {shape[1]}",
        partial(compare, shape=shape, interpolation=interpolation),
        (256,),
    )
    for interpolation in ("bilinear", "bicubic")
    for name, shape in SHAPES.items()
)
