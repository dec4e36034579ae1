"""Runs of a study made up for the tests of its pages, with the predictions that they left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fused_clip.tracking.records import RunRecord

ROWS = 400
# What a run of experiment=paper with OpenAI's weights records; MNIST is the dataset.
PAPERS_OPTIONS = {
    "backbone": "vit_b_32",
    "dataset.captions.task": "This is a digit {}",
    "dataset.captions.grouped": "This is a digit {}",
    "dataset.captions.hierarchical": "This is a digit {} {group}",
    "dataset.captions.generic": "This is a digit.",
    "backbone.model": "ViT-B-32-quickgelu",
    "backbone.pretrained": "openai",
    "clusterer": "spectral",
    "clusterer._target_": "fused_clip.method.clusterer.SpectralClustering",
    "clusterer.n_neighbors": "10",
    "clusterer.n_init": "10",
    "clusterer.approximate": "auto",
    "fusion._target_": "fused_clip.method.fusion.mean",
    "classifier._target_": "fused_clip.method.classifier.ConstrainedCentroid",
}
PAPERS_TAGS = {
    "backbone_weights": "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
    "backbone_precision": "float32",
    "backbone_pixels": "Preprocessing(size=(224, 224), mean=(0.48145466, 0.4578275, 0.40821073), "
    "std=(0.26862954, 0.26130258, 0.27577711), interpolation='bilinear', resize_mode='squash', fill_color=0)",
    "n_train": "60000",
    "n_test": "10000",
}
NAMES = np.array(["cat", "dog"])


@dataclass(frozen=True)
class Folder:
    """Artifacts that are files of a directory."""

    path: Path

    def fetch(self, name: str) -> Path | None:
        found = self.path / name
        return found if found.exists() else None


def study_record(
    folder: Path,
    dataset: str = "mnist",
    prompt: str = "task",
    seed: int = 42,
    *,
    wrong: int = 40,
    references: Mapping[str, int] | None = None,
    metrics: Mapping[str, float] | None = None,
    **options: str,
) -> RunRecord:
    """A finished run that is wrong on its first test rows, as its references are.

    Parameters
    ----------
    wrong : how many of its 400 test rows the method gets wrong.
    references : how many each reference gets wrong.
    options : further options, whose dots are written as ``__``.
    """
    changed = {name.replace("__", "."): value for name, value in options.items()}
    params = {"dataset": dataset, "prompt": prompt, "seed": str(seed), "backbone": "compact", **changed}
    run_id = "-".join(params.values())
    own = folder / run_id
    own.mkdir(parents=True)
    shares = {"predicted": wrong, **{f"reference/{name}": n for name, n in (references or {}).items()}}
    truth = np.arange(ROWS) % 2
    guesses = {name: NAMES[np.where(np.arange(ROWS) < n, 1 - truth, truth)] for name, n in shares.items()}
    rows = {"row_id": [f"{dataset}/{row}" for row in range(ROWS)], "split": "test", "target": NAMES[truth]}
    pd.DataFrame({**rows, **guesses}).to_parquet(own / "predictions.parquet")
    scores = {f"{name}_accuracy": 1 - n / ROWS for name, n in shares.items() if name != "predicted"}
    given: dict[str, Any] = {
        "test/accuracy": 1 - wrong / ROWS,
        "train/ari": 0.5,
        "train/purity": 0.9,
        "missing_targets": 0.0,
        **scores,
        **(metrics or {}),
    }
    return RunRecord(
        run_id, "", run_id, "FINISHED", params=params, metrics=given, tags={}, artifacts=Folder(own)
    )
