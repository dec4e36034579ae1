"""Zero-shot accuracy with the paper's prompts, on rows of one set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.compact_clip import recipe
from experiments.compact_clip.captions import KINDS_OF_CLASS
from experiments.compact_clip.data import Split


def paper_prompts(split: Split) -> list[str]:
    """Return the paper's prompt of each class ("This is a digit 3", "This is a pickup_truck")."""
    noun = "digit " if split.name == "mnist" else ""
    return [f"This is a {noun}{name}" for name in split.class_names]


def group_task(split: Split) -> tuple[str, list[str], np.ndarray] | None:
    """Return (name, prompts, group of each class) of the paper's two groups; None for CIFAR-100."""
    if split.name == "mnist":
        return "mnist even/odd", ["This is a digit even", "This is a digit odd"], np.arange(10) % 2
    if split.name == "cifar10":
        groups = np.array([int("animal" in KINDS_OF_CLASS[name]) for name in split.class_names])
        return "cifar10 vehicle/animal", ["This is a vehicle", "This is a animal"], groups
    return None


@torch.inference_mode()
def embed_images(model: nn.Module, images: np.ndarray, pixels: dict[str, Any], size: int, batch: int = 250) -> Tensor:
    """Return (n, d) float32 unit rows of uint8 `images` under the preprocessing `pixels` (mean, std)."""
    rows = []
    for start in range(0, len(images), batch):
        unit = recipe.resize(recipe.to_unit(images[start : start + batch]), size)
        with torch.autocast("cpu", torch.bfloat16):
            rows.append(model.encode_image(recipe.normalise(unit, pixels["mean"], pixels["std"])).float())
    return F.normalize(torch.cat(rows), dim=-1)


@torch.inference_mode()
def embed_texts(model: nn.Module, tokenizer: Any, prompts: list[str]) -> Tensor:
    """Return (p, d) float32 unit rows of `prompts`."""
    return F.normalize(model.encode_text(tokenizer(prompts)).float(), dim=-1)


def paper_accuracies(model: nn.Module, tokenizer: Any, split: Split) -> dict[str, float]:
    """Return the accuracy of nearest prompt by cosine: over the classes, and over the paper's groups."""
    from experiments.compact_clip.fit import MODEL

    size = MODEL["model_cfg"]["vision_cfg"]["image_size"]
    images = embed_images(model, split.images, MODEL["preprocess_cfg"], size)
    tasks = [(split.name, paper_prompts(split), np.arange(len(split.class_names)))]
    if group := group_task(split):
        tasks.append(group)
    out = {}
    for name, prompts, target_of_class in tasks:
        predicted = (images @ embed_texts(model, tokenizer, prompts).T).argmax(1).numpy()
        out[name] = round(float((predicted == target_of_class[split.labels]).mean()), 4)
    return out
