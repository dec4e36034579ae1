"""A saved model in use: predicting stored images, compared with embedding alone; and logging it in MLflow."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

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
TRAINED_ON = 200


def predict(count: int, timer: Timer) -> dict[str, float]:
    """Predict images of a Parquet file into a journal, with the compact backbone.

    They are embedded alone before and after in the same process: the ratios, of elapsed time and of CPU
    seconds, are to the mean of both.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        backbone, images = inputs.compact(), inputs.stored_images(folder, count)
        model = _model(folder / "model", backbone)
        source = find_source(str(folder / "images.parquet"))
        journal = Journal(folder / "partial", {"format": 2}, fresh=False)
        before = _embedding(model, images)
        with timer():
            predict_into(journal, model, source, Wanted(threshold=0.5, on_bad_image="error"))
        plain = np.mean([before, _embedding(model, images)], axis=0)
        if sum(1 for _ in journal) != count:
            raise RuntimeError("an image was not predicted")
    rates = plain / (timer.seconds, timer.cpu_seconds)
    return {
        "images_per_second": count / timer.seconds,
        "of_plain_embedding": float(rates[0]),
        "of_plain_embedding_cpu": float(rates[1]),
    }


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


def _embedding(model: SavedModel, images: Images) -> tuple[float, float]:
    """Seconds and CPU seconds that embedding alone takes, with nothing kept."""
    backbone, timer = model.require_backbone(), Timer()
    size = backbone.batch_size
    rows = np.arange(len(images))
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    backbone.load()
    with timer():
        for _ in embed_images(backbone, images, blocks):
            pass
    return timer.seconds, timer.cpu_seconds


def _model(folder: Path, backbone: OpenClipBackbone) -> SavedModel:
    """Train on crops of the two photographs, save and load."""
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
    files.write(folder, head, backbone_facts(backbone), training)
    return load_model(folder)


BENCHMARKS = (
    Benchmark("predicting, compact", "fused_clip", predict, (2_000, 20_000)),
    Benchmark("logging a model", "fused_clip", log, (5,)),
)
