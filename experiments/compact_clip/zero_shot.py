"""Zero-shot accuracy of a model in training with the paper's prompts, on rows of one set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.compact_clip import recipe
from experiments.compact_clip.architecture import MODEL
from experiments.compact_clip.captions import KINDS_OF_CLASS
from experiments.compact_clip.data import Split


@dataclass(frozen=True)
class Task:
    """Prompts to choose from, and the right one for each class."""

    name: str
    prompts: list[str]
    target_of_class: np.ndarray


def paper_tasks(split: Split) -> list[Task]:
    """Return the tasks whose prompts use the paper's words: the classes, and two groups of them."""
    noun = "digit " if split.name == "mnist" else ""
    prompts = [f"This is a {noun}{name}" for name in split.class_names]
    tasks = [Task(split.name, prompts, np.arange(len(prompts)))]
    if split.name == "mnist":
        parity = ["This is a digit even", "This is a digit odd"]
        tasks.append(Task("mnist even/odd", parity, np.arange(10) % 2))
    if split.name == "cifar10":
        groups = np.array([int("animal" in KINDS_OF_CLASS[name]) for name in split.class_names])
        tasks.append(Task("cifar10 vehicle/animal", ["This is a vehicle", "This is a animal"], groups))
    return tasks


@torch.inference_mode()
def embed_images(model: nn.Module, images: np.ndarray, size: int, batch: int = 250) -> Tensor:
    """Return (n, d) float32 unit rows of uint8 `images`, shown at `size` pixels."""
    pixels, rows = MODEL["preprocess_cfg"], []
    for start in range(0, len(images), batch):
        unit = recipe.resize(recipe.to_unit(images[start : start + batch]), size)
        with torch.autocast("cpu", torch.bfloat16):
            rows.append(model.encode_image(recipe.normalise(unit, pixels["mean"], pixels["std"])).float())
    return functional.normalize(torch.cat(rows), dim=-1)


@torch.inference_mode()
def embed_texts(model: nn.Module, tokenizer: Any, prompts: list[str]) -> Tensor:
    """Return (p, d) float32 unit rows of `prompts`."""
    return functional.normalize(model.encode_text(tokenizer(prompts)).float(), dim=-1)


def accuracies(
    model: nn.Module, tokenizer: Any, split: Split, tasks: list[Task], size: int
) -> dict[str, float]:
    """Return, for each task, the share of rows whose nearest prompt by cosine is the right one."""
    images = embed_images(model, split.images, size)
    out = {}
    for task in tasks:
        predicted = (images @ embed_texts(model, tokenizer, task.prompts).T).argmax(1).numpy()
        out[task.name] = round(float((predicted == task.target_of_class[split.labels]).mean()), 4)
    return out
