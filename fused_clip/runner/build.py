"""Parts of a run, made from its options and checked; nothing is embedded, and no model is loaded."""

import functools
import json
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from fused_clip.runner.config import (
    BackboneOptions,
    DatasetOptions,
    Options,
    TrackingOptions,
    build,
    complaint,
)

if TYPE_CHECKING:
    from fused_clip.backbone import OpenClipBackbone, Precomputed
    from fused_clip.dataset.base import ImageDataset
    from fused_clip.estimator import Memory
    from fused_clip.method.method import Method
    from fused_clip.method.prompt import Prompts
    from fused_clip.tracking import Tracker

    Parts = tuple[ImageDataset, OpenClipBackbone | Precomputed]

_KEPT = 8  # datasets in memory


class Prepared(NamedTuple):
    """Parts of a run that go together, and what `fused_clip.method.checks` has to say of them."""

    dataset: "ImageDataset"
    backbone: "OpenClipBackbone | Precomputed"
    prompts: "Prompts"
    method: "Method"
    notes: tuple[tuple[int, str], ...]


def prepare(options: Options, memory: "Memory | None" = None) -> Prepared:
    """Make all parts of a run and check that they go together.

    Parameters
    ----------
    options : of the run.
    memory : remembers partitions; None for none.

    Raises
    ------
    InputError
        If a part can't be made, or the parts do not go together.
    """
    from fused_clip.method import checks

    dataset, backbone = make_parts(options)
    prompts: Prompts = build(options.prompt, dataset=dataset)
    method = make_method(options, memory)
    method.check(dataset, prompts)
    checks.check_width(dataset, backbone)
    audited = options.references.enabled
    return Prepared(
        dataset, backbone, prompts, method, checks.notes(dataset, prompts, backbone, audited=audited)
    )


def make_method(options: Options, memory: "Memory | None" = None) -> "Method":
    """Make the parts that follow the embedding.

    Parameters
    ----------
    options : of the run.
    memory : remembers partitions; None for none.

    Raises
    ------
    InputError
        If a part can't be made.
    """
    from fused_clip.method.method import Method

    return Method(
        pairing=build(options.pairing),
        pairing_uses_labels=options.pairing.uses_labels,
        text=build(options.text),
        fusion=build(options.fusion),
        clusterer=build(options.clusterer),
        classifier=build(options.classifier),
        clusters_per_target=options.clusters_per_target,
        vote=options.vote,
        normalize_inputs=options.fusion.normalize_inputs,
        normalize_output=options.fusion.normalize_output,
        draws=options.references.draws if options.references.enabled else 0,
        seed=options.seed,
        memory=memory,
    )


def make_tracker(node: Mapping[str, Any] | TrackingOptions, output_dir: Path) -> "Tracker":
    """Make a tracker and check that its store answers.

    Parameters
    ----------
    node : the options of the group ``tracking``.
    output_dir : where the default store is.

    Raises
    ------
    InputError
        If the options are wrong or the store does not answer.
    """
    try:
        options = TrackingOptions.model_validate(node)
    except ValidationError as error:
        detail = error.errors()[0]
        raise complaint({**detail, "loc": ("tracking", *detail["loc"])}) from error
    tracker: Tracker = build(options, output_dir=output_dir)
    tracker.check()
    return tracker


def make_parts(options: Options) -> "Parts":
    """Make dataset and backbone, once in a process for the same options.

    What went wrong is kept too, and raised again.

    Parameters
    ----------
    options : of the run.

    Raises
    ------
    InputError
        If the data or the model are not there, or can't be used.
    """
    kinds = {"dataset": options.dataset, "backbone": options.backbone}
    groups = {name: group.model_dump(mode="json", by_alias=True) for name, group in kinds.items()}
    made = _made(json.dumps({"data_dir": options.data_dir, **groups}, sort_keys=True))
    if isinstance(made, Exception):
        raise made.with_traceback(None)
    dataset, backbone = made
    return dataset, copy(backbone)  # a model that the copy loads goes with it


@functools.lru_cache(maxsize=_KEPT)
def _made(key: str) -> "Parts | Exception":
    """Dataset and backbone for the options that a key lists as JSON, or what went wrong."""
    groups = json.loads(key)
    dataset_options = DatasetOptions.model_validate(groups["dataset"])
    try:
        dataset: ImageDataset = build(dataset_options, data_dir=groups["data_dir"])
        backbone: OpenClipBackbone | Precomputed = build(
            BackboneOptions.model_validate(groups["backbone"]), dataset=dataset
        )
        backbone.check()
    except Exception as error:
        return error
    return dataset, backbone
