"""Embed all images of a folder as a run does on one machine: ``python -m experiments.cluster.one_store``."""

from __future__ import annotations

import sys

import numpy as np

from fused_clip.runner.build import prepare
from fused_clip.runner.notebook import compose_options
from fused_clip.store import Store
from fused_clip.store.partitions import StoreMemory


def main(root: str, output_dir: str) -> None:
    """Embed both splits.

    Parameters
    ----------
    root : of the image folder.
    output_dir : its store is written.
    """
    options = compose_options("dataset=imagefolder", f"dataset.root={root}", "backbone=compact")
    store = Store(output_dir)
    made = prepare(options, StoreMemory(store))
    made.backbone.load()
    for split in (made.dataset.train, made.dataset.test):
        store.images(made.backbone, split.images, np.arange(len(split.images)))


if __name__ == "__main__":
    main(*sys.argv[1:])
