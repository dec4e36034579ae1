"""What the benchmarks of embedding work on: photographs as stored bytes, and CLIP models of a fixed seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.measure import Timer
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.device import Precision, choose_device, choose_precision
from fused_clip.dataset.encoded_table import read_split
from fused_clip.dataset.image_dataset import Images

Pixels = NDArray[np.uint8]

VIT_B_32 = "ViT-B-32-quickgelu"
TINY = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SEED = 0
BATCH = 64  # images in a pass
ROWS_A_GROUP = 1_000


@cache
def photographs() -> tuple[Pixels, ...]:
    """The two photographs, (427, 640, 3), that ship with scikit-learn."""
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)


def crop(index: int, height: int, width: int) -> Pixels:
    """The crop of a photograph, at a place that `index` draws."""
    random = np.random.default_rng([SEED, index])
    picture = photographs()[index % 2]
    top, left = random.integers(0, np.array(picture.shape[:2]) - (height, width) + 1)
    return picture[top : top + height, left : left + width]


def png(pixels: Pixels) -> bytes:
    """Encode an image."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def jpeg(pixels: Pixels) -> bytes:
    """Encode an image with loss, at quality 90."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, format="jpeg", quality=90)
    return file.getvalue()


def stored_images(
    folder: Path, count: int, side: int = 32, encode: Callable[[Pixels], bytes] = png
) -> Images:
    """Write square crops as files into a Parquet file, group by group, and open it as a dataset does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "images.parquet"
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, count, ROWS_A_GROUP):
            rows = range(start, min(start + ROWS_A_GROUP, count))
            cells = [encode(crop(row, side, side)) for row in rows]
            writer.write_table(pa.table({"image": cells, "label": [0] * len(cells)}, schema=schema))
    return read_split([file], "image", "label", "photographs").images


def vit_b_32(count: int, precision: Literal["auto", "float32", "bfloat16"] = "auto") -> OpenClipBackbone:
    """ViT-B/32 with random weights of a fixed seed, loaded; a pass is of `count` images, and at most 64."""
    return _vit_b_32(choose_precision(precision, choose_device("auto")), min(count, BATCH))


@cache
def _vit_b_32(precision: Precision, batch_size: int) -> OpenClipBackbone:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    with TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        save_file(open_clip.create_model(VIT_B_32).state_dict(), weights)
        backbone = OpenClipBackbone(
            VIT_B_32, pretrained=str(weights), precision=precision, batch_size=batch_size
        )
        return _loaded(backbone)


@cache
def tiny() -> OpenClipBackbone:
    """A CLIP of a few layers, for what has nothing to do with the model."""
    import torch
    from open_clip import CLIP
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    with TemporaryDirectory() as folder:
        save_file(CLIP(**TINY).state_dict(), Path(folder, "open_clip_model.safetensors"))
        config = json.dumps({"model_cfg": TINY, "preprocess_cfg": {}})
        Path(folder, "open_clip_config.json").write_text(config)
        return _loaded(OpenClipBackbone(f"local-dir:{folder}"))


def compact(precision: Literal["auto", "float32", "bfloat16"] = "auto") -> OpenClipBackbone:
    """The backbone that ships with the package, loaded."""
    return _loaded(OpenClipBackbone("compact", precision=precision))


def _loaded(backbone: OpenClipBackbone) -> OpenClipBackbone:
    """Read all that the backbone reads from files, which may be gone later."""
    backbone.load()
    _ = backbone.fingerprint
    return backbone


def image_flops(model: str) -> int:
    """Floating-point operations of the products and convolutions that embed one image."""
    import open_clip
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    config = open_clip.get_model_config(model)
    side = config["vision_cfg"]["image_size"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        open_clip.CLIP(**config).encode_image(torch.empty(1, 3, side, side))
    return counter.get_total_flops()


def product_rates(precision: str, side: int = 2_048, repeats: int = 6) -> NDArray[np.float64]:
    """Operations a second, and a CPU second, of the fastest of some square products in this process."""
    import torch

    left, right = torch.randn(2, side, side).to(getattr(torch, precision))
    timer, taken = Timer(), []
    for _ in range(repeats):
        with timer():
            left @ right
        taken.append((timer.seconds, timer.cpu_seconds))
    return 2 * side**3 / np.array(taken).min(axis=0)
