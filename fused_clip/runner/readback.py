"""A result read back from a run's directory: fused rows come from the run or the store, never a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fused_clip.model.result import Result, SplitResult
from fused_clip.runner.artifacts import FACTS, REFERENCE, SPLITS, read_metrics
from fused_clip.runner.build import make_fusion
from fused_clip.runner.config import FusionOptions
from fused_clip.store import Store
from fused_clip.support.arrays import Array, FloatArray

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, Array]


def read(directory: str | Path, store: str | Path) -> Result:
    """Read the result of a finished run, so that it can be drawn or recorded again.

    Its classifier, `head`, is left out: it stands in the run's ``model/``.

    Parameters
    ----------
    directory : the run's.
    store : folder of the embedding store, ``<output_dir>/store``; needed where the run kept only keys or a
        sample of its fused rows.

    Raises
    ------
    FileNotFoundError
        If the run lacks one of its files.
    InputError
        If the store no longer has the run's embeddings.
    """
    directory = Path(directory)
    facts = json.loads((directory / "result.json").read_text())
    with np.load(directory / "embeddings.npz", allow_pickle=False) as file:
        arrays = dict(file)
    parts: dict[str, Any] = {
        name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name] for name in FACTS
    }
    tables = _predictions(directory, facts["target_names"])
    parts |= {name: _split(name, directory, tables[name], arrays, Store(store)) for name in SPLITS}
    guesses = tables["test"].filter(like=REFERENCE)
    return Result(
        **parts,
        text_embeddings=arrays["text_embeddings"],
        cluster_targets=arrays["cluster_targets"],
        cluster_centers=arrays["cluster_centers"],
        metrics=read_metrics(directory),
        reference_predictions={
            str(name).removeprefix(REFERENCE): guesses[name].to_numpy() for name in guesses
        },
    )


def _predictions(directory: Path, target_names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Table of each split, with targets as positions; -1 is none."""
    import pandas as pd

    position = {target: index for index, target in enumerate(target_names)}
    table = pd.read_parquet(directory / "predictions.parquet")
    for name in table.columns:
        if name in ("target", "predicted") or name.startswith(REFERENCE):
            table[name] = table[name].map(position).fillna(-1).astype(np.int64)
    return {name: table[table["split"] == name] for name in SPLITS}


def _split(name: str, directory: Path, table: pd.DataFrame, arrays: Arrays, store: Store) -> SplitResult:
    fused = arrays.get(f"{name}_fused", np.empty((0, 0), np.float32))
    if len(fused) < len(table):
        fused = _fused(name, directory, arrays, store)
    return SplitResult(
        ids=tuple(table["row_id"]),
        rows=arrays[f"{name}_store_rows"],
        prompts=arrays[f"{name}_prompts"],
        fused=fused,
        targets=table["target"].to_numpy(),
        clusters=table["cluster"].to_numpy(np.int64),
        predicted=table["predicted"].to_numpy(),
        distances=table["distance"].to_numpy(np.float32),
        margins=table["margin"].to_numpy(np.float32),
    )


def _fused(name: str, directory: Path, arrays: Arrays, store: Store) -> FloatArray:
    """(n, d) rows of a split as the run fused them, from the rows in the store and the run's options."""
    from omegaconf import OmegaConf

    node = OmegaConf.to_container(OmegaConf.load(directory / "config.yaml").fusion)
    options = FusionOptions.model_validate(node)
    keys = json.loads(str(arrays["store_keys"]))
    images = store.stored(keys[f"{name}_images"], keys["backbone_fingerprint"], arrays[f"{name}_store_rows"])
    fusion, texts, prompts = make_fusion(options), arrays["text_embeddings"], arrays[f"{name}_prompts"]
    rows = fusion.inputs(texts)[prompts] if len(texts) else None
    return np.asarray(fusion.fuse(fusion.inputs(images), rows), dtype=np.float32)
