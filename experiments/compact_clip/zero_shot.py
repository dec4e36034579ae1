"""Zero-shot accuracy with the paper's prompts, on rows of one set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.compact_clip import recipe
from experiments.compact_clip.captions import KINDS_OF_CLASS, article
from experiments.compact_clip.data import Split

#: The paper's CIFAR-100 subsets: two groups, and fine labels: five of the first, then five of the second.
CIFAR100_SUBSETS: tuple[tuple[tuple[str, str], tuple[int, ...]], ...] = (
    (("object", "animal"), (8, 9, 20, 22, 25, 3, 21, 30, 31, 32)),
    (("vehicle", "plant"), (13, 48, 58, 69, 90, 52, 47, 56, 96, 59)),
    (("aquatic animal", "insect"), (1, 26, 30, 32, 45, 6, 7, 14, 18, 24)),
    (("mammal", "reptile"), (3, 34, 31, 43, 88, 27, 44, 78, 93, 29)),
    (("animal", "plant"), (65, 66, 67, 3, 34, 52, 47, 56, 96, 59)),
)


@dataclass(frozen=True)
class Task:
    """Prompts to choose from, and the right one for each class; -1 leaves the rows of a class out."""

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


def subset_tasks(class_names: tuple[str, ...]) -> list[Task]:
    """Return, for each of the paper's CIFAR-100 subsets, its ten classes and its two groups."""
    tasks = []
    for number, (groups, members) in enumerate(CIFAR100_SUBSETS, 1):
        prompts = [f"This is a {class_names[c]}" for c in members]
        group_prompts = [f"This is {article(group)} {group}" for group in groups]
        own, grouped = np.full((2, len(class_names)), -1)
        own[list(members)], grouped[list(members)] = np.arange(10), np.arange(10) // 5
        tasks.append(Task(f"cifar100 s{number}", prompts, own))
        tasks.append(Task(f"cifar100 s{number} {'/'.join(groups)}", group_prompts, grouped))
    return tasks


@torch.inference_mode()
def embed_images(model: nn.Module, images: np.ndarray, size: int | None = None, batch: int = 250) -> Tensor:
    """Return (n, d) float32 unit rows of uint8 `images`; `size` replaces the image size of `model.json`."""
    from experiments.compact_clip.fit import MODEL

    pixels, size = MODEL["preprocess_cfg"], size or MODEL["model_cfg"]["vision_cfg"]["image_size"]
    rows = []
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
    model: nn.Module, tokenizer: Any, split: Split, tasks: list[Task], size: int | None = None
) -> dict[str, float]:
    """Return, for each task, the share of its rows whose nearest prompt by cosine is the right one."""
    images = embed_images(model, split.images, size)
    out = {}
    for task in tasks:
        target = task.target_of_class[split.labels]
        predicted = (images @ embed_texts(model, tokenizer, task.prompts).T).argmax(1).numpy()
        out[task.name] = round(float((predicted == target)[target >= 0].mean()), 4)
    return out
