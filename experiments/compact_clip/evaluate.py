"""Zero-shot test accuracy and speed of the shipped model: `python -m experiments.compact_clip.evaluate`.

Everything goes the way of a run: the options of `conf/`, the backbone, the store.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter as clock
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from experiments.compact_clip.settings import EvaluateSettings
    from fused_clip.dataset import ImageDataset, Split
    from fused_clip.method.prompt import Prompts

RESULTS = Path(__file__).parent / "results"
TASKS = (
    *((name, prompt) for name in ("mnist", "cifar10") for prompt in ("task", "grouped")),
    ("cifar100", "task"),
    *((f"cifar100_{number}", prompt) for number in range(1, 6) for prompt in ("task", "grouped")),
)
EMBEDDED = 5000  # images a run of `images_per_second`
_LOAD = """
import sys, time
import open_clip, timm, torch  # importing them is not part of the load
from fused_clip.backbone import OpenClipBackbone

start = time.perf_counter()
OpenClipBackbone(sys.argv[1], precision="bfloat16", device="cpu").load()
print(time.perf_counter() - start)
"""


def make(name: str, prompt: str, settings: EvaluateSettings) -> tuple[ImageDataset, Prompts]:
    """Make what ``dataset=<name> prompt=<prompt>`` stands for."""
    from fused_clip.runner.build import make_parts
    from fused_clip.runner.config import build, check
    from fused_clip.support.conf import conf_dir

    parts = [f"dataset={name}", f"prompt={prompt}", "study=compact_clip"]
    if settings.n_test is not None:
        parts.append(f"dataset.n_test={settings.n_test}")
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        options = check(hydra.compose("config", overrides=parts))
    data_dir = None if settings.data_dir is None else str(settings.data_dir)
    dataset, _ = make_parts(options.model_copy(update={"data_dir": data_dir}))
    return dataset, build(options.prompt, dataset=dataset)


def accuracies(settings: EvaluateSettings) -> dict[str, float]:
    """Return the zero-shot accuracy on the test split for each of `TASKS`, by dataset and groups."""
    from fused_clip.backbone import OpenClipBackbone
    from fused_clip.method import pairing
    from fused_clip.method.embedding import embed_prompts
    from fused_clip.store import Store

    backbone, store = OpenClipBackbone(settings.model), Store(settings.output_dir / "store")
    backbone.check()
    figures = {}
    for name, prompt in TASKS:
        dataset, prompts = make(name, prompt, settings)
        images = store.images(backbone, dataset.test.images, dataset.test.rows)
        found = pairing.zero_shot(images, embed_prompts(prompts, backbone, store))
        groups = "" if prompt == "task" else f" {'/'.join(prompts.target_names)}"
        figures[f"{name}{groups}"] = float(np.mean(found == prompts.targets(dataset.test.labels)))
    return figures


def load_seconds(model: str, runs: int) -> list[float]:
    """Return what loading the model takes in each of `runs` fresh processes, imports left out."""
    command = [sys.executable, "-c", _LOAD, model]
    done = (subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True) for _ in range(runs))  # noqa: S603
    return [float(process.stdout) for process in done]


def images_per_second(model: str, split: Split, runs: int) -> list[float]:
    """Return how many rows of `split` are embedded a second in bf16, decoding and preprocessing included."""
    from fused_clip.backbone import OpenClipBackbone
    from fused_clip.backbone.batches import embed_images

    backbone = OpenClipBackbone(model, precision="bfloat16", device="cpu")
    rows, speeds = split.rows[:EMBEDDED], []
    warm = rows[: backbone.batch_size]
    for block in [warm, *[rows] * runs]:
        start = clock()
        (embedded,) = embed_images(backbone, split.images, [block])
        speeds.append(len(embedded) / (clock() - start))
    return speeds[1:]


def evaluate(settings: EvaluateSettings) -> dict[str, Any]:
    """Return figures on the test splits (whose only reader this is), and what they belong to.

    Raises
    ------
    InputError
        If the model or a set is not there, or if it is to be recorded and is not the shipped one on all rows.
    """
    from experiments.benchmarks.machine import environment
    from fused_clip.backbone.model_source import find_source
    from fused_clip.runner.cell import commit

    if settings.record and (settings.model, settings.n_test) != ("compact", None):
        rule = "goes with model=compact and n_test=null"
        raise InputError("record", rule, settings.record)
    source = find_source(settings.model, None)
    cifar10, _ = make("cifar10", "task", settings)
    return {
        "weights_sha256": source.weights.sha256(),
        "accuracy": accuracies(settings),
        "held_out": source.training.get("learning_curve", [{}])[-1].get("held_out", {}),
        "load_seconds": load_seconds(settings.model, settings.runs),
        "images_per_second": images_per_second(settings.model, cifar10.test, settings.runs),
        "commit": commit(),
        "environment": environment(),
    }


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, evaluate, print the tables, and record them if that is asked for."""
    from experiments.compact_clip.record import text, write
    from experiments.compact_clip.settings import EvaluateSettings, checked

    try:
        settings = checked(EvaluateSettings, cfg)
        GlobalHydra.instance().clear()  # so that `make` can compose the options of runs
        figures = evaluate(settings)
    except InputError as error:
        sys.exit(f"Error: {error}")
    print(text(figures))
    if settings.record:
        write(figures, RESULTS)


if __name__ == "__main__":
    main()
