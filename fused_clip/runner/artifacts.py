"""The files of a run: written, and read back. Fused rows come from the run or the store, never a model."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method.reference import ReferenceOptions
from fused_clip.metrics.curve import Curve
from fused_clip.model.result import Result, SplitResult
from fused_clip.runner.build import make_fusion, reference_options
from fused_clip.runner.config import FusionOptions, Options
from fused_clip.runner.curve_table import read_curves, write_curves
from fused_clip.store import Store
from fused_clip.support.arrays import Array, FloatArray
from fused_clip.support.checksums import SUMS, intact, write_sums
from fused_clip.support.files import write_atomic
from fused_clip.support.option_types import complaints
from fused_clip.support.plugins import code_behind
from fused_clip.support.sampling import stratified_sample
from fused_clip.support.versions import code_version
from fused_clip.tracking.records import read_config

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 10_000
STORE_KEYS = ("train_images", "test_images", "backbone_fingerprint")
SPLITS = ("train", "test")
REFERENCE = "reference/"  # columns of what the references predict
FACTS = (
    "dataset", "prompt", "backbone", "target_names", "texts", "missing_targets", "tags", "uses_labels",
    "backbone_saw_labels",
)  # fmt: skip
_METRICS = TypeAdapter(dict[str, int | float])
_TIMINGS = ("seconds/", "images_per_second")
_NOT_RESULTS = ("fused_clip.log", "record.json")


def kept_embeddings(options: Options, dataset: ImageDataset, *, job: bool) -> Literal["fused", "keys"]:
    """Choose which embeddings a run keeps: keys alone if it is asked to, or a job of a sweep.

    Vectors that came with the data are not in the store, so that keys would not give them back.

    Parameters
    ----------
    options : of the run.
    dataset : its images.
    job : whether it is a job of a sweep.
    """
    if isinstance(dataset.train.images, Vectors):
        return "fused"
    asked = options.output.embeddings
    return ("keys" if job else "fused") if asked == "auto" else asked


def extras(options: Options, dataset: ImageDataset, *, job: bool) -> dict[str, str]:
    """List the optional outputs of a run: a finished run that lacks some of them is run again.

    It follows from the code that draws and writes, and from the YAML of each reference with the code of the
    plugins that it needs.

    Parameters
    ----------
    options : of the run.
    dataset : its images.
    job : whether it is a job of a sweep.
    """
    found = {"files": code_version(("runner/artifacts", "runner/curve_table"))}
    if options.figures.enabled:
        found["figures"] = f"{options.figures.points} points, {code_version(('figures',))}"
    if kept_embeddings(options, dataset, job=job) == "fused":
        found["embeddings"] = "fused"
    references = reference_options(options).items()
    return found | {f"{REFERENCE}{name}": _described(own) for name, own in references}


def _described(own: ReferenceOptions) -> str:
    """What a reference is made of: its YAML, and the code of plugins whose options it names."""
    code = code_behind(f"{group}/{value}" for group, value in own.replace.items())
    return "".join([own.model_dump_json(), *code.values()])


def write(result: Result, directory: Path, *, seed: int, embeddings: Literal["fused", "keys"]) -> None:
    """Write ``result.json`` (names and facts), ``predictions.parquet`` and ``embeddings.npz``.

    ``curves.csv``, where there are curves, has a line for each value, of 6 significant digits.
    Columns ``reference/<name>`` of the test rows have the predictions of the references. A target that is
    not known is null, and -1 in arrays. The arrays give the fused rows back from the embedding store, as
    `read` does: ``store_keys`` (JSON) are fingerprints of images and backbone.

    Parameters
    ----------
    result : of the run.
    directory : of the run.
    seed : draws the sample.
    embeddings : ``fused`` adds fused rows; a split of more than 10,000 keeps a sample of 10,000, stratified
        by target, with ``<split>_rows``, its positions.
    """
    facts = {name: getattr(result, name) for name in FACTS}
    _write_json(directory / "result.json", {**facts, "tags": dict(result.tags)})
    _write_predictions(result, directory / "predictions.parquet")
    write_curves(result.curves, directory / "curves.csv")
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
            rows = stratified_sample(split.targets, MAX_ROWS, seed)
            arrays[f"{name}_rows"] = rows
            arrays |= {f"{name}_{key}": getattr(split, key)[rows] for key in ("fused", "targets", "clusters")}
    save = np.savez if embeddings == "fused" else np.savez_compressed
    save(directory / "embeddings.npz", **arrays)  # type: ignore[arg-type]


def write_metrics(result: Result, directory: Path) -> None:
    """Write ``metrics.json``, which is the same for the same run byte for byte, and ``timings.json``.

    Parameters
    ----------
    result : of the run.
    directory : of the run.
    """
    timings = {name: value for name, value in result.metrics.items() if name.startswith(_TIMINGS)}
    scores = {name: value for name, value in result.metrics.items() if name not in timings}
    _write_json(directory / "metrics.json", dict(sorted(scores.items())))
    _write_json(directory / "timings.json", dict(sorted(timings.items())))


def read_metrics(directory: Path) -> dict[str, float]:
    """Read what `write_metrics` wrote, as one.

    Parameters
    ----------
    directory : of the run.

    Raises
    ------
    DamagedError
        If a file differs from its checksum.
    FileNotFoundError
        If the run lacks one of the files.
    ValueError
        If one is damaged.
    """
    scores, timings = (
        _METRICS.validate_json(_intact(directory, f"{name}.json")) for name in ("metrics", "timings")
    )
    return {**scores, **timings}


def results(directory: Path) -> list[str]:
    """List the files of a run in a fixed order, without Hydra's and those that are written to afterwards.

    Parameters
    ----------
    directory : of the run.
    """
    found = [path.relative_to(directory) for path in sorted(directory.rglob("*")) if path.is_file()]
    return [
        str(path) for path in found if not path.parts[0].startswith(".") and path.name not in _NOT_RESULTS
    ]


def write_checksums(directory: Path) -> None:
    """Write ``SHA256SUMS`` of all files of a run but its model's, which has its own.

    Parameters
    ----------
    directory : of the run, which is complete.
    """
    own = {SUMS}
    write_sums(
        directory, [name for name in results(directory) if name not in own and Path(name).parts[0] != "model"]
    )


def _intact(directory: Path, name: str) -> bytes:
    return intact("run", directory, name)


def read(directory: str | Path, store: str | Path, allow: Sequence[str] = ()) -> Result:
    """Read the result of a finished run, without its `head`, so that it can be drawn or recorded again.

    Parameters
    ----------
    directory : the run's.
    store : folder of the embedding store, ``<output_dir>/store``; needed where the run kept only keys or a
        sample of its fused rows.
    allow : modules of your own that its fusion may be of; the run's files themselves can't run any code.

    Raises
    ------
    FileNotFoundError
        If the run lacks one of its files.
    InputError
        If a file differs from its checksum, or the store no longer has the run's embeddings.
    """
    directory = Path(directory)
    facts = json.loads(_intact(directory, "result.json"))
    with np.load(io.BytesIO(_intact(directory, "embeddings.npz")), allow_pickle=False) as file:
        arrays = dict(file)
    parts: dict[str, Any] = {
        name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name] for name in FACTS
    }
    tables = _read_predictions(directory, facts["target_names"])
    parts |= {
        name: _read_split(name, directory, tables[name], arrays, Store(store), allow) for name in SPLITS
    }
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
        curves=_read_curves(directory),
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _write_predictions(result: Result, path: Path) -> None:
    import pandas as pd

    names = np.array([*result.target_names, None], dtype=object)  # -1 takes the last, which is none
    tables = []
    for name in SPLITS:
        split: SplitResult = getattr(result, name)
        columns = {
            "row_id": split.ids,
            "split": name,
            "target": names[split.targets],
            "cluster": split.clusters,
            "predicted": names[split.predicted],
            "distance": split.distances,
            "margin": split.margins,
        }
        tables.append(pd.DataFrame(columns))
    guesses = {f"{REFERENCE}{name}": names[rows] for name, rows in result.reference_predictions.items()}
    tables[-1] = tables[-1].assign(**guesses)
    pd.concat(tables, ignore_index=True).to_parquet(path, index=False)


def _read_curves(directory: Path) -> tuple[Curve, ...]:
    try:
        return read_curves(_intact(directory, "curves.csv"), directory / "curves.csv")
    except FileNotFoundError:
        return ()


def _read_predictions(directory: Path, target_names: Sequence[str]) -> "dict[str, pd.DataFrame]":
    """Table of each split, with targets as positions; -1 is none."""
    import pandas as pd

    position = {target: index for index, target in enumerate(target_names)}
    table = pd.read_parquet(io.BytesIO(_intact(directory, "predictions.parquet")))
    for name in table.columns:
        if name in ("target", "predicted") or name.startswith(REFERENCE):
            table[name] = table[name].map(position).fillna(-1).astype(np.int64)
    return {name: table[table["split"] == name] for name in SPLITS}


def _read_split(
    name: str,
    directory: Path,
    table: "pd.DataFrame",
    arrays: dict[str, Array],
    store: Store,
    allow: Sequence[str],
) -> SplitResult:
    fused = arrays.get(f"{name}_fused", np.empty((0, 0), np.float32))
    if len(fused) < len(table):
        fused = _fused(name, directory, arrays, store, allow)
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


def _fused(
    name: str, directory: Path, arrays: dict[str, Array], store: Store, allow: Sequence[str]
) -> FloatArray:
    """(n, d) rows of a split as the run fused them, from the rows in the store and the run's options."""
    _intact(directory, "config.yaml")
    node = read_config(directory / "config.yaml").get("fusion")
    try:
        fusion = make_fusion(FusionOptions.model_validate(node).with_allowed(allow))
    except ValidationError as error:
        raise complaints(error, node, "fusion")[0] from error
    keys = json.loads(str(arrays["store_keys"]))
    images = store.stored(keys[f"{name}_images"], keys["backbone_fingerprint"], arrays[f"{name}_store_rows"])
    texts, prompts = arrays["text_embeddings"], arrays[f"{name}_prompts"]
    rows = fusion.inputs(texts)[prompts] if len(texts) else None
    return np.asarray(fusion.fuse(fusion.inputs(images), rows), dtype=np.float32)
