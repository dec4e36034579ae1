"""Options -> parts of a run, made and checked; nothing is embedded, and no model is loaded."""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import ValidationError

from fused_clip.method.reference import Reference, ReferenceFacts, ReferenceOptions, Replaced, read_references
from fused_clip.runner.config import (
    BackboneOptions,
    DatasetOptions,
    FusionOptions,
    Options,
    TrackingOptions,
    build,
)
from fused_clip.runner.targets import check_allowed, user_folders
from fused_clip.support.errors import InputError
from fused_clip.support.option_types import complaints
from fused_clip.support.plugins import config_folders

if TYPE_CHECKING:
    from fused_clip.audit.choice import Candidate
    from fused_clip.backbone import Backbone
    from fused_clip.dataset.image_dataset import ImageDataset
    from fused_clip.method.fusion import Fusion
    from fused_clip.method.parts import Memory, Method
    from fused_clip.method.prompt import Prompts
    from fused_clip.support.arrays import IntArray
    from fused_clip.tracking import Tracker

    Parts = tuple[ImageDataset, Backbone]

log = logging.getLogger(__name__)
_KEPT = 8  # datasets in memory
_MANY = 8  # labels a class from which method=auto takes the list ``many``


class Prepared(NamedTuple):
    """Parts of a run that go together, and the notes of `fused_clip.method.checks` on them."""

    dataset: "ImageDataset"
    backbone: "Backbone"
    prompts: "Prompts"
    method: "Method"
    references: Sequence[Reference]
    notes: tuple[tuple[int, str], ...]
    candidates: "Sequence[Candidate]" = ()


def prepare(options: Options, memory: "Memory | None" = None) -> Prepared:
    """Make all parts of a run and check that they go together.

    Parameters
    ----------
    options : of the run.
    memory : remembers partitions; None for none.
    """
    from fused_clip.method import checks
    from fused_clip.method.hold_out import hold_out

    method = make_method(options, memory)
    unlabelled = options.dataset.labels == "none" or options.labels.per_class == 0
    if unlabelled and options.method.candidates is None:  # known before any image is read
        checks.refuse_parts_that_need_labels(method)
    dataset, backbone = make_parts(options)
    dataset, budget = hold_out(dataset, method.labels, options.calibration.share, options.calibration.seed)
    method = replace(method, labels=budget)
    prompts: Prompts = build(options.prompt, dataset=dataset)
    candidates = make_candidates(options, method, dataset, prompts, backbone)
    method = candidates[0].method if candidates else method
    checks.check(method, dataset, prompts, backbone)
    references = make_references(options, dataset)
    notes = checks.notes(dataset, prompts, backbone, audited=bool(references))
    return Prepared(dataset, backbone, prompts, method, references, notes, candidates)


def make_candidates(
    options: Options, method: "Method", dataset: "ImageDataset", prompts: "Prompts", backbone: "Backbone"
) -> "list[Candidate]":
    """Make the methods that ``method=auto`` chooses among; one that the prompts or data refuse is left out.

    Parameters
    ----------
    options : of the run.
    method : with the run's own parts.
    dataset, prompts, backbone : parts that go with each of them.

    Raises
    ------
    InputError
        If no candidate can run.
    """
    from fused_clip.audit.choice import Candidate
    from fused_clip.method import checks

    if options.method.candidates is None:
        return []
    if options.leak is not None:
        raise InputError("leak", "needs a method that is not chosen: name its parts", options.leak)
    kind = _labels_there_are(method.labels.known(dataset.train.labels), len(dataset.class_names))
    made, refused = [], []
    for name, replaced in options.method.candidates.get(kind, {}).items():
        parts = dict(_replaced(f"method.candidates.{kind}.{name}", replaced, options, dataset))
        candidate = replace(method, **parts)
        try:
            checks.check(candidate, dataset, prompts, backbone)
        except InputError as error:
            log.info("method=auto has no %s: %s", name, error)
            refused.append(error)
        else:
            made.append(Candidate(str(name), candidate))
    if not made:
        raise refused[0] if refused else InputError("method.candidates", "has none for these labels", kind)
    return made


def _labels_there_are(known: "IntArray", n_classes: int) -> Literal["none", "few", "many"]:
    """By the labels of the median class."""
    import numpy as np

    counts = np.bincount(known[known >= 0], minlength=n_classes)
    return "none" if not counts.any() else "few" if np.median(counts) < _MANY else "many"


def make_tracker(
    node: Mapping[str, Any] | TrackingOptions, output_dir: Path, allow: Sequence[str] = ()
) -> "Tracker":
    """Make a tracker and check that its store answers.

    Parameters
    ----------
    node : the options of the group ``tracking``.
    output_dir : where the default store is.
    allow : modules that the user allows.
    """
    check_allowed(allow)
    try:
        options = TrackingOptions.model_validate(node).with_allowed(allow)
    except ValidationError as error:
        raise complaints(error, node, "tracking")[0] from error
    tracker: Tracker = build(options, output_dir=output_dir)
    tracker.check()
    return tracker


def make_parts(options: Options) -> "Parts":
    """Make dataset and backbone, once in a process for the same options; a wrong option is kept too.

    Parameters
    ----------
    options : of the run.
    """
    kinds = {"dataset": options.dataset, "backbone": options.backbone}
    groups = {name: group.model_dump(mode="json", by_alias=True) for name, group in kinds.items()}
    places = {"data_dir": options.data_dir, "allow": options.allow}
    made = _made(json.dumps({**places, **groups}, sort_keys=True))
    if isinstance(made, InputError):
        raise made.with_traceback(None)
    dataset, backbone = made
    return dataset, copy(backbone)  # a model that the copy loads goes with it


@functools.lru_cache(maxsize=_KEPT)
def _made(key: str) -> "Parts | InputError":
    """Dataset and backbone for the options that a key lists as JSON, or what went wrong."""
    groups = json.loads(key)
    allow = groups["allow"]
    dataset_options = DatasetOptions.model_validate(groups["dataset"]).with_allowed(allow)
    backbone_options = BackboneOptions.model_validate(groups["backbone"]).with_allowed(allow)
    try:
        dataset = make_dataset(dataset_options, groups["data_dir"])
        backbone: Backbone = build(backbone_options, dataset=dataset)
        backbone.check()
    except InputError as error:
        return error
    return dataset, backbone


def make_dataset(options: DatasetOptions, data_dir: str | None) -> "ImageDataset":
    """Make a dataset.

    Parameters
    ----------
    options : of the group.
    data_dir : mirror of the hub sets; None for the hub.

    Raises
    ------
    InputError
        If the options do not fit the data, or an image can't be read.
    """
    from fused_clip.dataset.recipe import Recipe

    recipe = Recipe.model_validate(options.model_dump(include=set(Recipe.model_fields)))
    dataset: ImageDataset = build(options, recipe=recipe, data_dir=data_dir)
    return dataset


def make_method(options: Options, memory: "Memory | None" = None) -> "Method":
    """Make the parts that follow the embedding.

    Parameters
    ----------
    options : of the run.
    memory : remembers partitions and references.
    """
    from fused_clip.method.budget import LabelBudget
    from fused_clip.method.parts import Method

    return Method(
        pairing=build(options.pairing),
        pairing_uses_labels=options.pairing.uses_labels,
        text=build(options.text),
        fusion=make_fusion(options.fusion),
        clusterer=build(options.clusterer),
        classifier=build(options.classifier),
        clusters_per_target=options.clusters_per_target,
        vote=options.vote,
        seed=options.seed,
        memory=memory,
        text_uses_labels=options.text.uses_labels,
        text_is_control=options.text.control,
        labels=LabelBudget(options.labels.per_class, options.labels.seed),
        leak=options.leak,
    )


def make_fusion(options: FusionOptions) -> "Fusion":
    """Make a fusion; a plain function is wrapped, with the normalisation that the options ask for.

    Parameters
    ----------
    options : of the group.
    """
    from fused_clip.method.fusion import FunctionFusion, Fusion

    made: Fusion | Callable[..., Any] = build(options)
    if isinstance(made, Fusion):
        return made
    flags = {"normalize_inputs": options.normalize_inputs, "normalize_output": options.normalize_output}
    return FunctionFusion(made, **flags)


def reference_options(options: Options) -> dict[str, ReferenceOptions]:
    """Choose references by name: those of ``reference=[...]``, else all of the config folders.

    Parameters
    ----------
    options : of the run.
    """
    if not options.references.enabled:
        return {}
    if options.reference is not None:
        return options.reference
    found = read_references(user_folders())
    return {name: ReferenceOptions.model_validate(node) for name, node in found.items()}


def make_references(options: Options, dataset: "ImageDataset") -> list[Reference]:
    """Make the references of a run; one with a part that the dataset does not allow is left out.

    Parameters
    ----------
    options : of the run.
    dataset : its images, for the prompts of references.
    """
    made = []
    for name, own in reference_options(options).items():
        facts = ReferenceFacts(name, own.title, own.explanation, own.uses_labels)
        try:
            parts = _replaced(f"reference.{name}.replace", own.replace, options, dataset)
            made.append(Reference(facts, own, dict(parts)))
        except InputError as error:
            if not error.option.startswith(("dataset.", "prompt")):
                raise
            log.info("No reference %s: %s", name, error)
    return made


def _replaced(
    place: str, replaced: Replaced, options: Options, dataset: "ImageDataset"
) -> Iterator[tuple[str, Any]]:
    for group, value in replaced.items():
        if group in ("vote", "clusters_per_target"):
            yield group, value
            continue
        chosen = _option(place, group, str(value), options)
        if group == "prompt":
            yield "prompts", build(chosen, dataset=dataset)
        elif group == "fusion":
            yield group, make_fusion(chosen)
        else:
            yield group, build(chosen)
            if group == "pairing":
                yield "pairing_uses_labels", chosen.uses_labels
            if group == "text":
                yield "text_uses_labels", chosen.uses_labels
                yield "text_is_control", chosen.control


def _option(place: str, group: str, value: str, options: Options) -> Any:
    """Options of a group with the shared keys of the run and the keys of another of its YAMLs."""
    files = [folder / group / f"{value}.yaml" for folder in (*user_folders(), *config_folders())]
    there = [file for file in files if file.is_file()]
    if not there:
        known = {file.stem for folder in {file.parent for file in files} for file in folder.glob("*.yaml")}
        rule = f"must be an option of the group {group}"
        raise InputError(f"{place}.{group}", rule, value, choices=sorted(known))
    shared = getattr(options, group)
    keys = shared.model_dump(by_alias=True, include=set(type(shared).model_fields) - {"target", "partial"})
    facts = there[0].stat()
    own = _read_option(there[0], facts.st_mtime_ns, facts.st_size)
    return type(shared).model_validate({**keys, **own}).with_allowed(options.allow)


@functools.lru_cache(maxsize=128)
def _read_option(path: Path, changed: int, size: int) -> Mapping[str, Any]:
    """Read an option's YAML, again if it has changed: references of all cells name the same few."""
    from omegaconf import OmegaConf

    own: Any = OmegaConf.to_container(OmegaConf.load(path))
    return dict(own)
