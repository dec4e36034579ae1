"""Models of the studies, each saved once: made from half of a test split; the other half is a pool."""

from pathlib import Path
from typing import NamedTuple

from experiments.guarantees.sets import Pool
from fused_clip import pipeline
from fused_clip.model import saved
from fused_clip.model.saved import SavedModel
from fused_clip.runner.build import Prepared, prepare
from fused_clip.runner.notebook import compose_options
from fused_clip.store import Store


class Made(NamedTuple):
    """A model without its backbone, and the images that neither it nor its backbone saw.

    Parameters
    ----------
    model : takes embeddings.
    pool : the other half of the test split, with the target of each image.
    prepared : parts of the run.
    """

    model: SavedModel
    pool: Pool
    prepared: Prepared


def make(dataset: str, backbone: str, classifier: str, output_dir: Path, *more: str) -> Made:
    """Run the default method with a classifier on half of a test split, or load what such a run left.

    Parameters
    ----------
    dataset, backbone, classifier : names of their options.
    output_dir : whose store keeps the embeddings; the models are in ``guarantees/models``.
    more : further overrides.
    """
    own = (f"dataset={dataset}", f"backbone={backbone}", f"classifier={classifier}", *more)
    fixed = ("dataset.from_split=test", "tracking=none", "references.enabled=false")
    prepared = prepare(compose_options(*own, *fixed))
    store = Store(output_dir / "store")
    held = prepared.dataset.test
    folder = output_dir / "guarantees" / "models" / ",".join(own)
    if not (folder / "SHA256SUMS").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        method, prompts = prepared.method, prepared.prompts
        found = pipeline.run(prepared.dataset, prompts, prepared.backbone, store, method, warn=False)
        saved.save(found, held.images, prepared.backbone, folder)
    rows = store.images(prepared.backbone, held.images, held.rows)
    pool = Pool(rows, prepared.prompts.targets(held.labels), prepared.prompts.target_names)
    return Made(saved.load_model(folder, embeddings_only=True), pool, prepared)
