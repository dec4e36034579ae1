"""A model on disk: two files of data and their checksums. Reading one runs no code that it brings.

``model.json`` holds names and numbers, ``arrays.safetensors`` the arrays, ``SHA256SUMS`` the checksum of
each, as ``sha256sum --check`` reads it. The checksums tell damage; they are no signature.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fused_clip.method.classifier import ConstrainedCentroid
from fused_clip.method.fusion import LinearFusion
from fused_clip.model.head import Head
from fused_clip.support.arrays import Array
from fused_clip.support.errors import InputError
from fused_clip.support.files import write_atomic

FORMAT: Literal[1] = 1
FACTS, ARRAYS, SUMS = "model.json", "arrays.safetensors", "SHA256SUMS"
_LIBRARIES = ("open_clip_torch", "torch", "torchvision", "numpy", "scikit-learn")
_LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9._]+)")

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class UnsavableError(InputError):
    """A model with a part that can't be written as data."""


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class BackboneFacts(_Facts):
    """How the images were embedded: enough to embed others, and to tell another model by.

    Parameters
    ----------
    model, pretrained, preprocessing, precision, batch_size : as in `OpenClipBackbone`.
    architecture : SHA-256 of open_clip's architecture.
    weights : SHA-256 of the weights file.
    pixels : the preprocessing, in full.
    """

    model: str
    pretrained: str | None
    preprocessing: Literal["model", "paper"]
    precision: Literal["auto", "float32", "bfloat16"]
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    architecture: Hash
    weights: Hash
    pixels: str


class TrainingFacts(_Facts):
    """What the model was made from.

    Parameters
    ----------
    dataset : its name.
    fingerprint : of images, rows, labels and class names.
    rows : number of training images.
    uses_labels : whether any part saw training labels.
    """

    dataset: str
    fingerprint: str
    rows: int
    uses_labels: bool


class FusionFacts(_Facts):
    """Weights of a linear fusion."""

    image_weight: float
    text_weight: float


class ModelFacts(_Facts):
    """Contents of ``model.json``.

    Parameters
    ----------
    temperature : None for an uncalibrated model.
    backbone : None where the images came embedded, or the backbone is no `OpenClipBackbone`; such a model
        takes embeddings alone.
    versions : of the libraries that it was made with, for people.
    """

    format: Literal[1]
    target_names: Annotated[list[str], Field(min_length=1)]
    prompts: list[list[str]]
    classifier: Literal["constrained_centroid"]
    fusion: FusionFacts
    normalize_inputs: bool
    normalize_output: bool
    temperature: Annotated[float, Field(gt=0)] | None
    backbone: BackboneFacts | None
    training: TrainingFacts
    versions: dict[str, str]


def write(folder: Path, head: Head, backbone: BackboneFacts | None, training: TrainingFacts) -> None:
    """Write a model; the checksums come last, and without them it is none.

    Parameters
    ----------
    folder : replaced if it is there.

    Raises
    ------
    UnsavableError
        If the head's fusion is code instead of a `LinearFusion`.
    InputError
        If the folder can't be written.
    """
    from safetensors.numpy import save

    fusion = head.classifier.fusion_
    if type(fusion) is not LinearFusion:
        name = getattr(fusion, "__qualname__", type(fusion).__qualname__)
        raise UnsavableError("fusion", f"{name} is code, and a model holds data: a LinearFusion can be saved")
    facts = ModelFacts(
        format=FORMAT,
        target_names=list(head.target_names),
        prompts=[list(texts) for texts in head.prompts],
        classifier="constrained_centroid",
        fusion=FusionFacts(image_weight=fusion.image_weight, text_weight=fusion.text_weight),
        normalize_inputs=head.normalize_inputs,
        normalize_output=head.classifier.normalize_output_,
        temperature=head.temperature,
        backbone=backbone,
        training=training,
        versions={name: version(name) for name in ("fused_clip", *_LIBRARIES)},
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = json.dumps(facts.model_dump(), indent=2, ensure_ascii=False) + "\n"
    contents = {FACTS: text.encode("utf-8", "surrogatepass"), ARRAYS: save(_arrays(head))}
    sums = [f"{write_atomic(folder / name, content)}  {name}\n" for name, content in contents.items()]
    write_atomic(folder / SUMS, "".join(sums).encode())


def read(folder: Path) -> tuple[Head, ModelFacts]:
    """Read a model that `write` left.

    Raises
    ------
    InputError
        If it is missing, cut short, damaged, of a newer format, or inconsistent.
    """
    contents = _intact(folder)
    facts = _facts(contents[FACTS], folder)
    try:
        return _head(facts, _load(contents[ARRAYS])), facts
    except ValueError as error:
        raise _damaged(folder, f"its arrays do not fit together ({error})") from error


def read_facts(folder: Path) -> ModelFacts:
    """Read what is said of a model that `write` left.

    Raises
    ------
    InputError
        As `read`.
    """
    return _facts(_intact(folder)[FACTS], folder)


def checksum(folder: Path) -> str:
    """SHA-256 (hex) of a model's checksums: its name by contents."""
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()


def _arrays(head: Head) -> dict[str, Array]:
    classifier = head.classifier
    arrays = {
        "cluster_centers": classifier.centers_,
        "cluster_targets": classifier.cluster_targets_,
        "text_embeddings": classifier.text_embeddings_,
        "prompt_of_target": classifier.prompt_of_target_,
    }
    return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}


def _intact(folder: Path) -> dict[str, bytes]:
    """Contents of both files, held to their checksums."""
    try:
        listed = (folder / SUMS).read_bytes().decode("ascii", "replace")
        contents = {name: (folder / name).read_bytes() for name in (FACTS, ARRAYS)}
    except OSError as error:
        rule = f"must be a model: a folder with {FACTS}, {ARRAYS} and {SUMS} ({error.strerror})"
        raise InputError("model", rule, str(folder)) from error
    matches = [_LINE.fullmatch(line) for line in listed.split("\n")]  # not at whatever else ends a line
    sums = {match[2]: match[1] for match in matches if match}
    for name, content in contents.items():
        if sums.get(name) != hashlib.sha256(content).hexdigest():
            raise _damaged(folder, f"{name} is not what {SUMS} says")
    return contents


def _facts(content: bytes, folder: Path) -> ModelFacts:
    try:
        plain = json.loads(content)
        found = plain["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(folder, f"{FACTS} can't be read") from error
    if isinstance(found, int) and found > FORMAT:
        rule = f"is of format {found}, and this fused_clip reads format {FORMAT}"
        raise InputError(
            "model", rule, str(folder), hint="Install the fused_clip that made it, or a newer one"
        )
    try:
        return ModelFacts.model_validate(plain)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise _damaged(folder, f"{FACTS}: {where}: {detail['msg']}") from error


def _load(content: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Array] = load(content)
    except (SafetensorError, KeyError) as error:
        raise ValueError(str(error)) from error
    return arrays


def _head(facts: ModelFacts, arrays: Mapping[str, Array]) -> Head:
    """Put a head together; raises ValueError on arrays that do not fit."""
    n_targets, n_prompts = len(facts.target_names), len(facts.prompts)
    if len(set(facts.target_names)) != n_targets:
        raise ValueError("targets share a name")
    centers = _take(arrays, "cluster_centers", "f", 2)
    k, dim = centers.shape
    owners = _index(_take(arrays, "cluster_targets", "i", 1), k, n_targets)
    texts = of_target = None
    if n_prompts:
        texts = _take(arrays, "text_embeddings", "f", 2)
        if texts.shape != (n_prompts, dim):
            raise ValueError(f"text_embeddings has shape {texts.shape}, not {(n_prompts, dim)}")
        of_target = _index(_take(arrays, "prompt_of_target", "i", 1), n_targets, n_prompts)
    classifier = ConstrainedCentroid().set_centers(
        centers,
        cluster_targets=owners,
        text_embeddings=texts,
        prompt_of_target=of_target,
        fusion=LinearFusion(facts.fusion.image_weight, facts.fusion.text_weight),
        normalize_output=facts.normalize_output,
    )
    prompts = tuple(map(tuple, facts.prompts))
    return Head(tuple(facts.target_names), prompts, classifier, facts.normalize_inputs, facts.temperature)


def _take(arrays: Mapping[str, Array], name: str, kind: str, ndim: int) -> Array:
    array = arrays.get(name)
    if array is None or array.dtype.kind != kind or array.ndim != ndim or 0 in array.shape:
        found = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"{name} is {found}")
    if kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array


def _index(array: Array, length: int, count: int) -> Array:
    if array.shape != (length,) or array.min() < 0 or array.max() >= count:
        raise ValueError(f"an index must hold {length} numbers below {count}")
    return array


def _damaged(folder: Path, what: str) -> InputError:
    return InputError("model", f"is damaged: {what}", str(folder), hint="Copy it anew, or run again")
