"""A saved model in use: predicting, compared with embedding or the encoder alone; logging it in MLflow."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from experiments.benchmarks import inputs
from experiments.benchmarks.measure import Benchmark, Timer
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.batches import embed_images
from fused_clip.dataset.image_dataset import Images
from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.prompt import Prompts
from fused_clip.model import format as files
from fused_clip.model.head import Head
from fused_clip.model.saved import SavedModel, backbone_facts, load_model
from fused_clip.predict.journal import Journal
from fused_clip.predict.sources import find_source
from fused_clip.predict.stream import Wanted, predict_into

NAMES = ("temple", "flower")  # the two photographs
TRAINED_ON = 16
PHOTO_SIDE = 400
TURNS = 5


def predict(count: int, timer: Timer) -> dict[str, float]:
    """Predict images of a Parquet file into a journal, with the compact backbone.

    In turns they are embedded alone in the same process: the shares, of elapsed time and of CPU seconds, are
    of the mean of the turns before and after.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        backbone, images = inputs.compact(), inputs.stored_images(folder, count)
        model = _model(folder / "model", backbone)
        alone = partial(_embedding, model, images)
        facts = _compared("plain_embedding", alone, partial(_predicting, model, folder), count, timer)
        _check_journal(folder, count)
        return facts


def photos(count: int, timer: Timer) -> dict[str, float]:
    """Predict JPEG photos of 400 x 400 pixels into a journal, with ViT-B/32.

    In turns, in the same process, the encoder alone embeds as many images that are prepared: the shares are
    of the mean of the turns before and after.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        backbone = inputs.vit_b_32(count)
        inputs.stored_images(folder, count, PHOTO_SIDE, inputs.jpeg)
        model = _model(folder / "model", backbone, described=False)  # its file of weights is gone
        rows = range(backbone.batch_size)
        pixels = backbone.prepare([inputs.crop(row, PHOTO_SIDE, PHOTO_SIDE) for row in rows])
        alone = partial(_encoding, backbone, pixels, count)
        facts = _compared("encoder", alone, partial(_predicting, model, folder), count, timer)
        _check_journal(folder, count)
        return facts


def log(count: int, timer: Timer) -> dict[str, float]:
    """Log a model in a fresh store, time after time; what a run has imported by then is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about mlflow's own code
        import mlflow.pyfunc  # noqa: F401

    from fused_clip.tracking import MlflowTracker
    from fused_clip.tracking.models import log_model

    with TemporaryDirectory() as name:
        _model(Path(name, "model"), inputs.compact())
        client, experiment = MlflowTracker(Path(name))._store()
        runs = [client.create_run(experiment).info.run_id for _ in range(count)]
        seconds = []
        with timer():
            for run_id in runs:
                start = time.perf_counter()
                log_model(client, run_id, Path(name, "model"), None)
                seconds.append(time.perf_counter() - start)
    return {"seconds_a_model": mean(seconds), "first_seconds": seconds[0], "slowest_seconds": max(seconds)}


def _compared(
    name: str, alone: Callable[[], None], predicting: Callable[[], None], count: int, timer: Timer
) -> dict[str, float]:
    """Time predicting between runs of what it is compared with, in turns; shares are medians of the turns."""
    of_alone, shares = Timer(), []

    def time_alone() -> Any:
        with of_alone():
            alone()
        return np.array([of_alone.seconds, of_alone.cpu_seconds])

    before = time_alone()
    for _ in range(TURNS):
        with timer():
            predicting()
        after = time_alone()
        shares.append((before + after) / 2 / (timer.seconds, timer.cpu_seconds))
        before = after
    seconds, cpu_seconds = np.median(shares, axis=0)
    return {
        "images_per_second": count / timer.seconds,
        f"of_{name}": float(seconds),
        f"of_{name}_cpu": float(cpu_seconds),
    }


def _journal(folder: Path) -> Journal:
    return Journal(folder / "partial", {"format": 2}, fresh=False)


def _predicting(model: SavedModel, folder: Path) -> None:
    """Predict the folder's images into a new journal."""
    journal, source = _journal(folder), find_source(str(folder / "images.parquet"))
    journal.clear()  # of the turn before
    predict_into(journal, model, source, Wanted(threshold=0.5, on_bad_image="error"))


def _check_journal(folder: Path, count: int) -> None:
    if sum(1 for _ in _journal(folder)) != count:
        raise RuntimeError("an image was not predicted")


def _embedding(model: SavedModel, images: Images) -> None:
    """Embed images, with nothing kept."""
    backbone = model.require_backbone()
    size = backbone.batch_size
    rows = np.arange(len(images))
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    for _ in embed_images(backbone, images, blocks):
        pass


def _encoding(backbone: OpenClipBackbone, pixels: Any, count: int) -> None:
    """Embed prepared images, batch by batch, until there are `count`."""
    for start in range(0, count, backbone.batch_size):
        backbone.encode_prepared([pixels[: count - start]])


def _model(folder: Path, backbone: OpenClipBackbone, *, described: bool = True) -> SavedModel:
    """Train on crops of the two photographs, save and load; the backbone stays loaded."""
    from sklearn.cluster import KMeans

    rows = backbone.encode_images([inputs.crop(index, 32, 32) for index in range(TRAINED_ON)])
    targets = np.arange(TRAINED_ON) % 2
    prompts = Prompts(tuple((name,) for name in NAMES), NAMES, np.arange(2), np.arange(2))
    classifier = PromptFusedClassifier(
        backbone.encode_texts(NAMES), clusterer=KMeans(n_init=2), random_state=inputs.SEED
    ).fit(rows, targets)
    head = Head.of(classifier, prompts)
    training = files.TrainingFacts(
        dataset="photographs", fingerprint="0" * 64, rows=TRAINED_ON, uses_labels=True
    )
    files.write(folder, head, backbone_facts(backbone) if described else None, training)
    return replace(load_model(folder, embeddings_only=True), backbone=backbone)


BENCHMARKS = (
    Benchmark("predicting, compact", "fused_clip", predict, (2_000, 10_000)),
    Benchmark("predicting, photos", "fused_clip", photos, (256, 512)),
    Benchmark("logging a model", "fused_clip", log, (5,)),
)
