"""The files that a run leaves in its directory."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.model.result import Result, SplitResult
from fused_clip.runner.build import reference_options
from fused_clip.runner.config import Options
from fused_clip.support.arrays import Array
from fused_clip.support.files import write_atomic
from fused_clip.support.sampling import stratified_sample
from fused_clip.support.versions import code_version

MAX_ROWS = 10_000
STORE_KEYS = ("train_images", "test_images", "backbone_fingerprint")
SPLITS = ("train", "test")
REFERENCE = "reference/"  # columns of what the references predict
FACTS = (
    "dataset", "prompt", "backbone", "target_names", "texts", "missing_targets", "tags", "uses_labels",
    "backbone_saw_labels",
)  # fmt: skip
_TIMINGS = ("seconds/", "images_per_second")


def kept_embeddings(options: Options, dataset: ImageDataset, *, job: bool) -> Literal["fused", "keys"]:
    """What a run keeps of its embeddings: keys alone if it is asked to, or a job of a sweep.

    Vectors that came with the data are not in the store, so that keys would not give them back.
    """
    if isinstance(dataset.train.images, Vectors):
        return "fused"
    asked = options.output.embeddings
    return ("keys" if job else "fused") if asked == "auto" else asked


def extras(options: Options, dataset: ImageDataset, *, job: bool) -> dict[str, str]:
    """What a run leaves besides what every run leaves: a finished run that lacks some of it is run again.

    It follows from the code that draws and writes, and from the YAML of each reference.

    Parameters
    ----------
    options : of the run.
    dataset : its images.
    job : whether it is a job of a sweep.
    """
    found = {"files": code_version(("runner/artifacts",))}
    if options.figures.enabled:
        found["figures"] = f"{options.figures.points} points, {code_version(('figures',))}"
    if kept_embeddings(options, dataset, job=job) == "fused":
        found["embeddings"] = "fused"
    references = reference_options(options).items()
    return found | {f"{REFERENCE}{name}": own.model_dump_json() for name, own in references}


def write(result: Result, directory: Path, *, seed: int, embeddings: Literal["fused", "keys"]) -> None:
    """Write ``result.json`` (names and facts), ``predictions.parquet`` and ``embeddings.npz``.

    Beside each test row stands what the references predict for it, in columns ``reference/<name>``. A target
    that is not known is null, and -1 in arrays.

    ``embeddings.npz`` holds what gives the fused rows back from the embedding store: ``store_keys`` (JSON),
    fingerprints of images and backbone; ``<split>_store_rows`` and ``<split>_prompts``; ``text_embeddings``.
    `fused_clip.runner.readback.read` does so. With ``embeddings="fused"`` it also has fused rows; a split of
    more than 10,000 keeps a sample of 10,000, stratified by target: ``<split>_rows`` says which.
    """
    facts = {name: getattr(result, name) for name in FACTS}
    _write_json(directory / "result.json", {**facts, "tags": dict(result.tags)})
    _write_predictions(result, directory / "predictions.parquet")
    arrays: dict[str, Array] = {
        "target_names": np.array(result.target_names),
        "cluster_targets": result.cluster_targets,
        "cluster_centers": result.cluster_centers,
        "text_embeddings": result.text_embeddings,
        "store_keys": np.array(json.dumps({key: result.tags.get(key, "") for key in STORE_KEYS})),
    }
    for name in SPLITS:
        split: SplitResult = getattr(result, name)
        arrays |= {f"{name}_store_rows": split.rows, f"{name}_prompts": split.prompts}
        if embeddings == "fused":
            arrays |= _sample(name, split, seed)
    save = np.savez if embeddings == "fused" else np.savez_compressed
    save(directory / "embeddings.npz", **arrays)  # type: ignore[arg-type]


def write_metrics(result: Result, directory: Path) -> None:
    """Write ``metrics.json`` and ``timings.json``: flat name to number.

    How long things took stands apart, so that the same run gives the same metrics byte for byte.
    """
    timings = {name: value for name, value in result.metrics.items() if name.startswith(_TIMINGS)}
    scores = {name: value for name, value in result.metrics.items() if name not in timings}
    _write_json(directory / "metrics.json", dict(sorted(scores.items())))
    _write_json(directory / "timings.json", dict(sorted(timings.items())))


def read_metrics(directory: Path) -> dict[str, float]:
    """Read what `write_metrics` wrote, as one."""
    scores, timings = (
        json.loads((directory / f"{name}.json").read_text()) for name in ("metrics", "timings")
    )
    return {**scores, **timings}


def _sample(name: str, split: SplitResult, seed: int) -> dict[str, Array]:
    rows = stratified_sample(split.targets, MAX_ROWS, seed)
    return {
        f"{name}_rows": rows,
        f"{name}_fused": split.fused[rows],
        f"{name}_targets": split.targets[rows],
        f"{name}_clusters": split.clusters[rows],
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _write_predictions(result: Result, path: Path) -> None:
    import pandas as pd

    train, test = (_predictions(result, name, getattr(result, name)) for name in SPLITS)
    names = _names(result)
    guesses = {f"{REFERENCE}{name}": names[rows] for name, rows in result.reference_predictions.items()}
    pd.concat([train, test.assign(**guesses)], ignore_index=True).to_parquet(path, index=False)


def _predictions(result: Result, name: str, split: SplitResult) -> Any:
    import pandas as pd

    names = _names(result)
    return pd.DataFrame(
        {
            "row_id": split.ids,
            "split": name,
            "target": names[split.targets],
            "cluster": split.clusters,
            "predicted": names[split.predicted],
            "distance": split.distances,
            "margin": split.margins,
        }
    )


def _names(result: Result) -> Array:
    """Names by target index; the last, which -1 takes, is none."""
    return np.array([*result.target_names, None], dtype=object)
