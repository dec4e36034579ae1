"""A model on disk, as data: ``model.json``, ``arrays.safetensors``, a card, and ``SHA256SUMS`` of them.

``sha256sum --check`` reads the checksums. They detect damage; they are no signature.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import ValidationError

from fused_clip.method.classifier import Classifier, ConstrainedCentroid
from fused_clip.method.fusion import Fusion, LinearFusion
from fused_clip.model.calibration_rows import CalibrationRows, pop_calibration
from fused_clip.model.card import as_markdown
from fused_clip.model.facts import FORMAT, BackboneFacts, ModelFacts, PartFacts, TrainingFacts
from fused_clip.model.head import Head
from fused_clip.model.location import FACTS
from fused_clip.support.arrays import Array
from fused_clip.support.checksums import SUMS, parse_sums
from fused_clip.support.errors import InputError
from fused_clip.support.files import read_regular, write_atomic
from fused_clip.support.named_parts import plugin_class
from fused_clip.support.plugins import plugin_of
from fused_clip.support.versions import versions

ARRAYS, CARD = "arrays.safetensors", "README.md"
_BASES: Mapping[str, type] = MappingProxyType({"classifier": Classifier, "fusion": Fusion})
_LIBRARIES = ("open_clip_torch", "torch", "torchvision", "numpy", "scikit-learn")


class UnsavableError(InputError):
    """A model with a part that can't be written as data."""


def write(
    folder: Path,
    head: Head,
    backbone: BackboneFacts | None,
    training: TrainingFacts,
    calibration: CalibrationRows | None = None,
) -> None:
    """Write a model; the checksums come last, and a folder without them is no model.

    Parameters
    ----------
    folder : replaced if it is there.
    head : what follows the backbone.
    backbone : how images are embedded; None for a model of embeddings.
    training : what the model was made from.
    calibration : images held out for guarantees; None for none.

    Raises
    ------
    UnsavableError
        If the fusion or classifier has parts that are code.
    InputError
        If the folder can't be written.
    """
    from safetensors.numpy import save

    facts = ModelFacts(
        format=FORMAT,
        target_names=list(head.target_names),
        prompts=[list(texts) for texts in head.prompts],
        dim=head.dim,
        classifier=_part("classifier", head.classifier, head.classifier.get_params()),
        fusion=_part("fusion", head.fusion, vars(head.fusion)),
        transductive=head.classifier.transductive,
        temperature=head.temperature,
        backbone=backbone,
        training=training,
        versions=versions(("fused_clip", *_LIBRARIES)) | _plugins_of(head),
    )
    arrays = {name: np.ascontiguousarray(array) for name, array in head.classifier.arrays().items()}
    arrays |= {} if calibration is None else calibration.arrays()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = json.dumps(facts.model_dump(exclude_defaults=True), indent=2, ensure_ascii=False) + "\n"
    contents = {
        FACTS: text.encode("utf-8", "surrogatepass"),
        ARRAYS: save(arrays),
        CARD: as_markdown(facts).encode("utf-8", "replace"),
    }
    sums = [f"{write_atomic(folder / name, content)}  {name}\n" for name, content in contents.items()]
    write_atomic(folder / SUMS, "".join(sums).encode())


def read(folder: Path, trusted: Iterable[type] = ()) -> tuple[Head, ModelFacts, CalibrationRows | None]:
    """Read a model that `write` left.

    Parameters
    ----------
    folder : the model's.
    trusted : classes of your own that the model may use as classifier or fusion. Only the package's own,
        those that installed plugins have for their options, and these are used: a model can't choose code.

    Raises
    ------
    InputError
        If it is missing, cut short, damaged, of a newer format, inconsistent, or needs a class that is not
        there.
    """
    contents = _intact(folder)
    facts = _facts(contents[FACTS], folder)
    own = tuple(trusted)
    classifier, fusion = (_make(option, facts, own, folder) for option in ("classifier", "fusion"))
    try:
        arrays = _load(contents[ARRAYS])
        calibration = pop_calibration(arrays, len(facts.target_names))
        head = _head(facts, classifier, fusion, arrays)
        found = (0, head.dim) if calibration is None else calibration.rows.shape
        if found != (stated := (facts.training.calibration_rows, head.dim)):
            raise ValueError(f"calibration_rows has shape {found}, not {stated}")
        return head, facts, calibration
    except (TypeError, ValueError) as error:  # also a param of another type
        raise _damaged(folder, f"its arrays do not fit together ({error})") from error


def read_facts(folder: Path) -> ModelFacts:
    """Read the facts of a model that `write` left.

    Parameters
    ----------
    folder : the model's.

    Raises
    ------
    InputError
        As `read`.
    """
    return _facts(_intact(folder)[FACTS], folder)


def checksum(folder: Path) -> str:
    """SHA-256 (hex) of a model's checksums: its name by contents.

    Parameters
    ----------
    folder : the model's.
    """
    return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _classes(option: str, trusted: Iterable[type]) -> dict[str, type]:
    """Classes that a model may use as its classifier or fusion, by name; those of plugins come later."""
    from fused_clip.method import classifier, fusion

    module, base = {"classifier": classifier, "fusion": fusion}[option], _BASES[option]
    own = (kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base))
    return {_name_of(kind): kind for kind in (*own, *trusted)}


def _plugins_of(head: Head) -> dict[str, str]:
    """Versions of the plugins that have its classifier or fusion, by distribution."""
    found = [plugin_of(type(part).__module__) for part in (head.classifier, head.fusion)]
    return {plugin.distribution: plugin.version for plugin in found if plugin}


def _way_to(facts: ModelFacts) -> str:
    """Say how to get a class that is not there: the plugin that the model was made with, or the caller."""
    known = ("fused_clip", *_LIBRARIES)
    lacking = [f"{name} {version}" for name, version in facts.versions.items() if name not in known]
    call = "pass its class: load_model(..., trusted=[...])"
    return f"Install {' and '.join(lacking)}, or {call}" if lacking else call.capitalize()


def _part(option: str, part: object, params: Mapping[str, Any]) -> PartFacts:
    name = _name_of(type(part))
    try:
        return PartFacts(name=name, params=dict(params))
    except ValidationError as error:
        rule = f"{name} is code or has parameters that are, and a model is data"
        raise UnsavableError(option, rule) from error


def _make(option: str, facts: ModelFacts, trusted: Iterable[type], folder: Path) -> Any:
    part: PartFacts = getattr(facts, option)
    known = _classes(option, trusted)
    kind = known.get(part.name) or plugin_class(option, part.name, _BASES[option])
    if kind is None:
        rule = f"needs the {option} {part.name}, which is no {option} of fused_clip or a plugin"
        raise InputError("model", rule, str(folder), hint=_way_to(facts))
    try:
        return kind(**part.params)
    except (TypeError, ValueError) as error:
        raise _damaged(folder, f"{FACTS}: {option}: {error}") from error


def _intact(folder: Path) -> dict[str, bytes]:
    """Contents of the files, held to their checksums; older formats have no card."""
    try:
        sums = parse_sums(read_regular(folder / SUMS))
        names = [FACTS, ARRAYS, *([CARD] if (folder / CARD).exists() else [])]
        contents = {name: read_regular(folder / name) for name in names}
        own = folder.resolve(strict=True)
        links = [name for name in (*names, SUMS) if (folder / name).resolve().parent != own]
    except OSError as error:
        rule = f"must be a model: a folder with {FACTS}, {ARRAYS} and {SUMS} ({error.strerror})"
        raise InputError("model", rule, str(folder)) from error
    if links:
        raise InputError("model", f"must contain its files, and {links[0]} is a link out of it", str(folder))
    if spare := sorted(set(sums) - set(contents)):
        raise _damaged(folder, f"{spare[0]} is not what {SUMS} says")
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
        rule = f"is of format {found}, and this fused_clip reads up to format {FORMAT}"
        hint = "Install the fused_clip that made it, or a newer one"
        raise InputError("model", rule, str(folder), hint=hint)
    try:
        return ModelFacts.model_validate(_upgraded(plain) if found in (1, 2) else plain)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise _damaged(folder, f"{FACTS}: {where}: {detail['msg']}") from error
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"{FACTS} lacks {error}") from error


def _upgraded(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of an older format: 1 knew one classifier and linear fusions, 2 no calibration rows."""
    if plain["format"] == 2:
        return {**plain, "format": FORMAT}
    flags = {name: plain[name] for name in ("normalize_inputs", "normalize_output")}
    kept = {name: value for name, value in plain.items() if name not in flags}
    return {
        **kept,
        "format": FORMAT,
        "dim": None,
        "classifier": {"name": _name_of(ConstrainedCentroid), "params": {}},
        "fusion": {"name": _name_of(LinearFusion), "params": {**plain["fusion"], **flags}},
    }


def _load(content: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, Array] = load(content)
    except (SafetensorError, KeyError) as error:
        raise ValueError(str(error)) from error
    return arrays


def _head(facts: ModelFacts, classifier: Classifier, fusion: Fusion, arrays: Mapping[str, Array]) -> Head:
    """Put a head together; raises ValueError on arrays that do not fit."""
    n_targets = len(facts.target_names)
    if len(set(facts.target_names)) != n_targets:
        raise ValueError("targets share a name")
    texts = arrays.get("text_embeddings")
    if texts is not None and len(texts) != len(facts.prompts):
        raise ValueError(f"text_embeddings has {len(texts)} rows for {len(facts.prompts)} prompts")
    classifier.restore(arrays, n_targets, fusion)
    dim = arrays["cluster_centers"].shape[1] if facts.dim is None else facts.dim
    some = 2 if classifier.transductive else 1
    scores = classifier.target_scores(np.zeros((some, dim), np.float32)).values
    if scores.shape != (some, n_targets):
        raise ValueError(f"scores have shape {scores.shape}, not {(some, n_targets)}")
    prompts = tuple(map(tuple, facts.prompts))
    return Head(tuple(facts.target_names), prompts, dim, fusion, classifier, facts.temperature)


def _damaged(folder: Path, what: str) -> InputError:
    return InputError("model", f"is damaged: {what}", str(folder), hint="Copy it anew, or run again")
