"""A model of a tiny CLIP that tells red, green and blue pictures apart, as a run would leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

from fused_clip.backbone import OpenClipBackbone
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.classifier import Classifier
from fused_clip.method.prompt import Prompts
from fused_clip.model import format as files
from fused_clip.model.calibration_rows import CalibrationRows
from fused_clip.model.head import Head
from fused_clip.model.saved import backbone_facts
from tests.tiny_clip import save_tiny_clip

NAMES = ("red", "green", "blue")


def pictures(
    count: int, *, seed: int = 0, side: int = 32
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Noisy pictures of one colour each, and which."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % len(NAMES)
    images = []
    for target in targets:
        image = rng.integers(0, 90, size=(side, side, 3), dtype=np.uint8)
        image[..., target] += 150
        images.append(image)
    return images, targets


def save_model(
    folder: Path,
    *,
    calibrated: bool = True,
    batch_size: int = 8,
    classifier: Classifier | None = None,
    held_out: int = 0,
) -> Path:
    """Make the model, with its backbone beside it and calibration pictures in it, and give its directory."""
    clip = save_tiny_clip(folder / "clip")
    backbone = OpenClipBackbone(f"local-dir:{clip}", precision="float32", device="cpu", batch_size=batch_size)
    images, targets = pictures(60)
    rows = backbone.encode_images(images)
    prompts = Prompts(tuple((name,) for name in NAMES), NAMES, np.arange(3), np.arange(3))
    model = PromptFusedClassifier(
        backbone.encode_texts(NAMES),
        dict(enumerate(range(3))),
        clusterer=KMeans(n_init=2),
        classifier=classifier,
        calibrate=calibrated,
        random_state=0,
    )
    head = Head.of(model.fit(rows, targets), prompts)
    training = files.TrainingFacts(
        dataset="colours",
        fingerprint="f" * 64,
        rows=60,
        uses_labels=calibrated,
        calibration_rows=held_out,
    )
    calibration = None
    if held_out:
        more, truth = pictures(held_out, seed=2)
        calibration = CalibrationRows(
            backbone.encode_images(more), truth if calibrated else truth * 0 - 1, rows, targets
        )
    files.write(folder / "model", head, backbone_facts(backbone), training, calibration)
    return folder


def save_pictures(folder: Path, count: int, *, seed: int = 1) -> Path:
    """Write pictures as files ``a/00.png`` ...; a third of them a folder further down."""
    images, _ = pictures(count, seed=seed)
    for index, image in enumerate(images):
        place = folder / "a" / ("deep" if index % 3 == 0 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:02}.png")
    return folder
