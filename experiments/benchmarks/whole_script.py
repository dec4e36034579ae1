"""The whole experiment from the command line: ours against a naive script, and a sweep whose work is stored.

Each is a process of its own that imports everything anew, on MNIST and CIFAR-10 from `FUSED_CLIP_DATA`,
without figures. `size` is the number of training images of a set; a quarter as many are test images. Facts:
the accuracy of each set and prompt strategy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.benchmarks.commands import sweep
from experiments.benchmarks.measure import ROOT, Benchmark, Timer

DATA = "FUSED_CLIP_DATA"
SETS = ("mnist", "cifar10")
STRATEGIES = ("task", "grouped", "swapped", "none", "generic", "hierarchical")
EVERY = (f"dataset={','.join(SETS)}", f"prompt={','.join(STRATEGIES)}")
EIGHT = (f"dataset={','.join(SETS)}", "prompt=task,grouped,swapped,none")
#: What the naive script does and no more: float32, seed 42, no references, no MLflow.
SAME_WORK = ("experiment=paper", "backbone=compact", "references.enabled=false", "tracking=none")
NAIVE = Path(__file__).with_name("naive_script.py")
MODEL = ROOT / "fused_clip" / "assets" / "compact"


def missing_data() -> str:
    """Say why the sets can't be read here; empty where they can."""
    folder = os.environ.get(DATA, "")
    if not folder:
        return f"{DATA} is not set: it names the folder with mnist and cifar10 as Parquet files"
    absent = [name for name in SETS if not list(Path(folder, name).glob("*.parquet"))]
    return f"{DATA}={folder} has no Parquet file of {' and '.join(absent)}" if absent else ""


def test_images(size: int) -> int:
    """Number of test images that go with `size` training images."""
    return size // 4


def ours(size: int, timer: Timer, options: tuple[str, ...]) -> dict[str, float]:
    """Twelve cells in an empty folder."""
    with TemporaryDirectory() as folder:
        with timer():
            sweep(folder, *EVERY, *_sizes(size), *options)
        return dict(_accuracies(Path(folder)))


def naive(size: int, timer: Timer) -> dict[str, float]:
    """The naive script on the images that ours draws; which ones is written down before the time is taken."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = {
            "data": os.environ[DATA],
            "model": str(MODEL),
            "rows": {one: _drawn(one, size) for one in SETS},
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        command = [sys.executable, str(NAIVE), "settings.json", "results.json"]
        with timer():
            subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
        found = json.loads((folder / "results.json").read_text())
    return {cell: scores["accuracy"] for cell, scores in found.items()}


def stored(size: int, timer: Timer, *, finished: bool) -> dict[str, float]:
    """Eight cells whose embeddings are stored by cells of another clusterer, or that are finished already."""
    bare = ("clusterer=kmeans", "references.enabled=false")
    with TemporaryDirectory() as folder:
        sweep(folder, *EIGHT, *_sizes(size), *(() if finished else bare))
        with timer():
            sweep(folder, *EIGHT, *_sizes(size))
    return {"cells_per_minute": 60 * 8 / timer.seconds}


def _sizes(size: int) -> tuple[str, ...]:
    return f"dataset.n_train={size}", f"dataset.n_test={test_images(size)}", "figures.enabled=false"


def _accuracies(folder: Path) -> Iterator[tuple[str, float]]:
    for file in sorted(folder.glob("outputs/sweeps/*/*/*/record.json")):
        record = json.loads(file.read_text())
        cell = f"{record['axes']['dataset']} {record['axes']['prompt']}"
        yield cell, record["metrics"]["test/accuracy"]


def _drawn(name: str, size: int) -> dict[str, list[int]]:
    """Rows of each split that `dataset.n_train` and `dataset.n_test` draw."""
    import pyarrow.parquet as pq

    from fused_clip.support.sampling import stratified_subset

    rows = {}
    for split, count in (("train", size), ("test", test_images(size))):
        (file,) = Path(os.environ[DATA], name).glob(f"{split}-*.parquet")
        labels = pq.read_table(file, columns=["label"])["label"].to_numpy()
        rows[split] = stratified_subset(labels, count, 0, option="size").tolist()
    return rows


SIZES = (2_000,)
BENCHMARKS = (
    Benchmark("whole script", "fused_clip", partial(ours, options=()), SIZES, missing=missing_data),
    Benchmark(
        "whole script",
        "fused_clip, the same work",
        partial(ours, options=SAME_WORK),
        SIZES,
        missing=missing_data,
    ),
    Benchmark("whole script", "naive script", naive, SIZES, peer=True, missing=missing_data),
    Benchmark(
        "8 stored cells", "embeddings stored", partial(stored, finished=False), SIZES, missing=missing_data
    ),
    Benchmark("8 stored cells", "all finished", partial(stored, finished=True), SIZES, missing=missing_data),
)
