"""Write a trained model as the folder that open_clip loads as `local-dir:<folder>`."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from experiments.compact_clip import checkpoint
from experiments.compact_clip.captions import KINDS
from fused_clip.runner.cell import commit
from fused_clip.support.files import write_atomic

if TYPE_CHECKING:
    from experiments.compact_clip.corpus import Corpus
    from experiments.compact_clip.settings import Settings

WEIGHTS, CONFIG, FACTS = "open_clip_model.safetensors", "open_clip_config.json", "training.json"
LIBRARIES = ("torch", "open_clip_torch", "timm", "numpy", "datasets")


def export(model: nn.Module, corpus: Corpus, settings: Settings, history: list[dict[str, Any]]) -> Path:
    """Write weights (half precision), configuration and `training.json`; return their folder."""
    from safetensors.torch import save

    from experiments.compact_clip.fit import MODEL

    folder = settings.export_folder
    folder.mkdir(parents=True, exist_ok=True)
    facts = run_facts(corpus, settings)
    facts["training_seconds"] = round(sum(epoch["seconds"] for epoch in history), 1)
    facts["learning_curve"] = history
    facts["weights_sha256"] = write_atomic(folder / WEIGHTS, save(half_precision(model)))
    for name, content, indent in ((CONFIG, MODEL, 2), (FACTS, facts, 1)):
        write_atomic(folder / name, (json.dumps(content, indent=indent) + "\n").encode())
    return folder


def half_precision(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's state in float16 (counters stay integers); raise ValueError on overflow."""
    state = {}
    for name, value in model.state_dict().items():
        half = value.half() if value.is_floating_point() else value
        if not torch.isfinite(half).all():
            raise ValueError(f"{name} does not fit half precision")
        state[name] = half.contiguous()
    return state


def run_facts(corpus: Corpus, settings: Settings) -> dict[str, Any]:
    """Return the facts known before training: data, words, seed, recipe, code, versions."""
    concepts = corpus.concepts
    return {
        "trained_on": [f"{split.name}/train" for split in corpus.train],
        "rows": {split.name: len(split.labels) for split in corpus.train},
        "rows_held_out": {split.name: len(split.labels) for split in corpus.held_out},
        "data_fingerprint": corpus.fingerprint,
        "seed": settings.seed,
        "recipe": settings.recipe(),
        "code": checkpoint.code(),
        "commit": commit(),
        "classes": {split.name: list(split.class_names) for split in corpus.train},
        "superclasses": corpus.superclasses,
        "groups": sorted({"even", "odd", *KINDS, *concepts.superclasses}),
        "vocabulary": concepts.vocabulary(),
        "versions": {name: version(name) for name in LIBRARIES},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count()},
    }
