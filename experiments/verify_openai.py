"""OpenAI's ViT-B/32 weights, as this package loads them, give the published zero-shot accuracies.

Needs the weights and the official test splits, from the hub or from a cache:
``python -m experiments.verify_openai``.
"""

import sys
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from fused_clip.method import pairing
from fused_clip.pipeline import embed_prompts
from fused_clip.runner.config import build, check
from fused_clip.store import Store
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

# LAION-AI/CLIP_benchmark benchmark.csv and mlfoundations/open_clip openclip_results.csv, in per cent.
PUBLISHED = (("cifar10", "openai_cifar", 89.8, 0.3), ("mnist", "openai_mnist", 48.5, 0.5))


def zero_shot_accuracy(dataset_name: str, prompt_name: str) -> float:
    """Zero-shot accuracy on the official test split, in per cent."""
    parts = [f"dataset={dataset_name}", f"prompt={prompt_name}", "backbone=vit_b_32"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        options = check(compose("config", overrides=[*parts, "study=verify_openai"]))
    dataset = build(options.dataset, data_dir=options.data_dir)
    backbone = build(options.backbone)
    backbone.check()
    store = Store(Path(options.output_dir) / "store")
    images = store.images(backbone, dataset.test.images, dataset.test.rows)
    texts = embed_prompts(build(options.prompt, dataset=dataset), backbone, store)
    return 100 * float(np.mean(pairing.zero_shot(images, texts) == dataset.test.labels))


def main() -> None:
    """Compare each accuracy with the published one; exit with 1 if one is out of its tolerance."""
    failed = False
    for dataset, prompt, published, tolerance in PUBLISHED:
        try:
            measured = zero_shot_accuracy(dataset, prompt)
        except InputError as error:
            sys.exit(f"Error: {error}")
        right = abs(measured - published) <= tolerance
        failed |= not right
        verdict = "ok" if right else f"off by more than {tolerance}"
        print(f"{dataset:8} {measured:6.2f} %, published {published} %: {verdict}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
