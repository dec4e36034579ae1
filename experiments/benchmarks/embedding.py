"""Images through a model: from stored bytes to rows in the store, against a loop as one writes it first.

And against what libraries offer for ViT-B/32 in bfloat16: open_clip's own model, and torch's compiler on it.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from experiments.benchmarks import inputs
from experiments.benchmarks.measure import Benchmark, Timer
from fused_clip.backbone import OpenClipBackbone
from fused_clip.store import Store

PASSES = 5  # prompt strategies of the paper's table, each of which embedded the images anew


def embed(count: int, timer: Timer, backbone: OpenClipBackbone) -> dict[str, float]:
    """Embed stored images, once."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        images, store = inputs.stored_images(folder, count), Store(folder / "store")
        _ = images.fingerprint
        with timer():
            store.images(backbone, images, np.arange(count))
    return {"images_per_second": count / timer.seconds}


def near_the_bound(count: int, timer: Timer) -> dict[str, float]:
    """Embed with ViT-B/32; the bound is what its products alone would take, were they all as fast as can be.

    The rate of products is the best before and after, in the same process. The share of the bound is
    given by elapsed time and, as other processes shake that, by CPU seconds.
    """
    backbone = inputs.vit_b_32(count)
    before = inputs.product_rates(backbone._precision)
    facts = embed(count, timer, backbone)
    rates = np.maximum(before, inputs.product_rates(backbone._precision))
    bound, bound_cpu = rates / inputs.image_flops(inputs.VIT_B_32)
    return {
        **facts,
        "bound": bound,
        "of_bound": count / timer.seconds / bound,
        "of_bound_cpu": count / timer.cpu_seconds / bound_cpu,
    }


def compact(count: int, timer: Timer) -> dict[str, float]:
    """Embed with the compact backbone."""
    return embed(count, timer, inputs.compact())


def memory(count: int, timer: Timer) -> dict[str, float]:
    """Embed with a model that weighs nothing, in 512 dimensions: what grows, grows with the images."""
    return embed(count, timer, inputs.tiny())


def as_it_comes(count: int, timer: Timer, *, compiled: bool) -> dict[str, float]:
    """Embed with open_clip's ViT-B/32 in bfloat16, as it is or compiled; pixels are prepared as ours."""
    import open_clip
    import torch

    torch.manual_seed(inputs.SEED)
    model = open_clip.create_model(inputs.VIT_B_32, precision="bf16").eval()
    encode = torch.compile(model.encode_image) if compiled else model.encode_image
    ours = inputs.vit_b_32(count)
    with TemporaryDirectory() as name, torch.inference_mode():
        images = inputs.stored_images(Path(name), count)
        encode(ours.prepare(list(images.read(np.arange(inputs.BATCH)))))
        with timer():
            for start in range(0, count, inputs.BATCH):
                encode(ours.prepare(list(images.read(np.arange(start, min(start + inputs.BATCH, count))))))
    return {"images_per_second": count / timer.seconds}


def naive(count: int, timer: Timer, backbone: OpenClipBackbone) -> dict[str, float]:
    """Embed image by image through PIL and batch by batch in float32, once a prompt strategy."""
    import torch
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    transform = image_transform_v2(PreprocessCfg(**asdict(backbone._preprocessing)), is_train=False)
    encoded = [inputs.png(inputs.crop(row, 32, 32)) for row in range(count)]
    with timer(), torch.inference_mode():
        for _ in range(PASSES):
            for start in range(0, count, inputs.BATCH):
                batch = [transform(Image.open(BytesIO(one))) for one in encoded[start : start + inputs.BATCH]]
                backbone._towers.encode_image(torch.stack(batch))
    return {"images_per_second": count / timer.seconds}


def naive_vit_b_32(count: int, timer: Timer) -> dict[str, float]:
    """Embed with ViT-B/32 as one writes it first."""
    return naive(count, timer, inputs.vit_b_32(count, "float32"))


def naive_compact(count: int, timer: Timer) -> dict[str, float]:
    """Embed with the compact backbone as one writes it first."""
    return naive(count, timer, inputs.compact("float32"))


BENCHMARKS = (
    Benchmark("embedding, ViT-B/32", "fused_clip", near_the_bound, (256, 1_024)),
    Benchmark("embedding, ViT-B/32", "naive loop", naive_vit_b_32, (256,), peer=True),
    Benchmark(
        "embedding, ViT-B/32",
        "bfloat16 as it comes",
        partial(as_it_comes, compiled=False),
        (256, 1_024),
        peer=True,
    ),
    Benchmark(
        "embedding, ViT-B/32",
        "bfloat16, torch.compile",
        partial(as_it_comes, compiled=True),
        (256, 1_024),
        peer=True,
    ),
    Benchmark("embedding, compact", "fused_clip", compact, (1_024, 5_120)),
    Benchmark("embedding, compact", "naive loop", naive_compact, (1_024,), peer=True),
    Benchmark("embedding, tiny model", "fused_clip", memory, (5_000, 100_000)),
)
