"""Features and texts of the two towers, before they are aligned."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fused_clip.backbone.efficientnet import IMAGE_WEIGHTS, ImageTower, preprocessing
from fused_clip.backbone.minilm import TEXT_WEIGHTS, TOKENIZER, TextTower
from fused_clip.support.arrays import FloatArray, ImageArray, IntArray

_AT_A_TIME = 8


def read_photos(path: Path) -> tuple[list[ImageArray], IntArray]:
    """Read photos and the number of the ImageNet class of each, from a Parquet file of the hub's schema."""
    import pandas as pd
    from PIL import Image

    table = pd.read_parquet(path)
    pictures = (Image.open(io.BytesIO(cell["bytes"])).convert("RGB") for cell in table["image"])
    return [np.asarray(picture) for picture in pictures], table["label"].to_numpy(np.int64)


def reduced(image: ImageArray, side: int) -> ImageArray:
    """Crop an image to a square and shrink it to `side` pixels, as small data sets were made."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BICUBIC))


def image_tower() -> ImageTower:
    """Load the image tower in float32 on the CPU."""
    import torch

    return ImageTower(IMAGE_WEIGHTS.find(), "cpu", torch.float32)


def text_tower() -> TextTower:
    """Load the text tower in float32 on the CPU."""
    import torch

    return TextTower(TEXT_WEIGHTS.find(), TOKENIZER.find(), "cpu", torch.float32)


def features(tower: ImageTower, images: Sequence[ImageArray], size: int) -> FloatArray:
    """Compute features of n images at an input size: (n, 1280)."""
    import torch

    def parts() -> Iterable[FloatArray]:
        with torch.inference_mode():
            for start in range(0, len(images), _AT_A_TIME):
                pixels = preprocessing(size)(images[start : start + _AT_A_TIME])
                yield tower.features(pixels).numpy()

    return np.concatenate(list(parts()))
