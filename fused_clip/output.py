"""The files that a run leaves in its directory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fused_clip.result import Result, SplitResult

MAX_ROWS = 10_000
STORE_KEYS = ("train_images", "test_images", "backbone_fingerprint")


def write(result: Result, directory: Path, *, seed: int) -> None:
    """Write ``predictions.parquet`` and ``embeddings.npz``.

    Beside each test row stands what the references predict for it, in columns ``reference/<name>``.
    A split of more than 10,000 rows keeps a sample of 10,000, stratified by target, in
    ``embeddings.npz``: ``<split>_rows`` says which, and ``store_keys`` (JSON) holds the fingerprints under
    which the embedding store has all of them.
    """
    _write_predictions(result, directory / "predictions.parquet")
    arrays: dict[str, NDArray[Any]] = {
        "target_names": np.array(result.target_names),
        "cluster_targets": result.cluster_targets,
        "cluster_centers": result.cluster_centers,
        "store_keys": np.array(json.dumps({key: result.tags.get(key, "") for key in STORE_KEYS})),
    }
    for name, split in (("train", result.train), ("test", result.test)):
        rows = stratified(split.targets, MAX_ROWS, seed)
        arrays |= {
            f"{name}_rows": rows,
            f"{name}_fused": split.fused[rows],
            f"{name}_targets": split.targets[rows],
            f"{name}_clusters": split.clusters[rows],
        }
    np.savez(directory / "embeddings.npz", **arrays)  # type: ignore[arg-type]


def write_metrics(result: Result, directory: Path) -> None:
    """Write ``metrics.json``: flat name to number."""
    text = json.dumps(dict(sorted(result.metrics.items())), indent=2, allow_nan=False)
    (directory / "metrics.json").write_text(text + "\n")


def stratified(targets: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Rows of a sample stratified by target, ascending; all rows where there are no more than `size`."""
    if len(targets) <= size:
        return np.arange(len(targets))
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    order = shuffled[np.argsort(targets[shuffled], kind="stable")]
    return np.sort(order[np.linspace(0, len(order) - 1, size).round().astype(np.int64)])


def _write_predictions(result: Result, path: Path) -> None:
    import pandas as pd

    train, test = (_predictions(result, name, getattr(result, name)) for name in ("train", "test"))
    names = _names(result)
    guesses = {f"reference/{name}": names[rows] for name, rows in result.reference_predictions.items()}
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


def _names(result: Result) -> NDArray[Any]:
    """Names by target index; the last, which -1 takes, is none."""
    return np.array([*result.target_names, None], dtype=object)
