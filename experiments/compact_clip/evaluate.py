"""Zero-shot test accuracy and speed of the shipped model: `python -m experiments.compact_clip.evaluate`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from torch import nn

    from experiments.compact_clip.data import Split


def load(folder: Path) -> tuple[nn.Module, Any]:
    """Load model and tokenizer as a user of open_clip would; raise FileNotFoundError if not there."""
    import open_clip

    from experiments.compact_clip.export import CONFIG, WEIGHTS

    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"model_dir={folder} has no {name}")
    source = f"local-dir:{folder}"
    return open_clip.create_model(source).eval(), open_clip.get_tokenizer(source)


def speed(model: nn.Module, split: Split) -> float:
    """Return images embedded a second in bf16, preprocessing included, for uint8 `split.images`."""
    import copy

    import torch

    from experiments.compact_clip import recipe
    from experiments.compact_clip.fit import MODEL

    pixels, size = MODEL["preprocess_cfg"], MODEL["model_cfg"]["vision_cfg"]["image_size"]
    fast = copy.deepcopy(model).to(memory_format=torch.channels_last, dtype=torch.bfloat16)

    @torch.inference_mode()
    def embed(start: int) -> None:
        unit = recipe.resize(recipe.to_unit(split.images[start : start + 250]), size)
        fast.encode_image(recipe.normalise(unit, pixels["mean"], pixels["std"]).bfloat16())

    embed(0)
    started = time.perf_counter()
    for start in range(0, 5000, 250):
        embed(start)
    return 5000 / (time.perf_counter() - started)


def evaluate(folder: Path, data_dir: Path | None) -> dict[str, Any]:
    """Return accuracies on the test splits (the only reader of them), load time and speed."""
    import open_clip  # noqa: F401  its import is not part of the load time

    from experiments.compact_clip.data import HUB_IDS, check_data_dir, load_split
    from experiments.compact_clip.zero_shot import accuracies, paper_tasks, subset_tasks

    check_data_dir(data_dir)
    started = time.perf_counter()
    model, tokenizer = load(folder)
    seconds = time.perf_counter() - started
    tests = [load_split(name, "test", data_dir) for name in HUB_IDS]
    figures: dict[str, float] = {}
    for split in tests:
        tasks = paper_tasks(split)
        if split.name == "cifar100":
            tasks += subset_tasks(split.class_names)
        figures |= accuracies(model, tokenizer, split, tasks)
    return {
        "accuracy": figures,
        "load_seconds": round(seconds, 2),
        "images_per_second_bf16": round(speed(model, tests[1])),
        "cores": os.cpu_count(),
    }


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = [f"| {name} | {100 * value:.2f} % |" for name, value in figures["accuracy"].items()]
    speed_line = (
        f"loads in {figures['load_seconds']} s; {figures['images_per_second_bf16']} images/s in bf16 "
        f"on {figures['cores']} cores"
    )
    return "\n".join(["| zero-shot, paper's prompts | test accuracy |", "|---|---|", *rows, "", speed_line])


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, then print the table."""
    from pydantic import ValidationError

    from experiments.compact_clip.export import read_facts, write_facts
    from experiments.compact_clip.settings import EvaluateSettings

    try:
        settings = EvaluateSettings.model_validate(OmegaConf.to_container(cfg, resolve=True))
    except ValidationError as error:
        raise SystemExit(f"conf/evaluate.yaml: {error}") from None
    figures = evaluate(settings.model_dir, settings.data_dir)
    print(table(figures))
    if settings.record:
        facts = read_facts(settings.model_dir)
        write_facts(settings.model_dir, facts | {"zero_shot_test": figures["accuracy"]})


if __name__ == "__main__":
    main()
