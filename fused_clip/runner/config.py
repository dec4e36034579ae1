"""The door between Hydra and the package: typed options, checked before work, and parts built from them.

An option that a group shares is declared once, here or, for datasets, in `SharedOptions`: name, type, rule,
default and description. `defaults` hands the defaults to Hydra; documents print the rest.
"""

import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from fused_clip.backbone.towers import MOST
from fused_clip.dataset.options import SharedOptions
from fused_clip.method.hold_out import MOST_HELD_OUT
from fused_clip.method.leak import Leak
from fused_clip.method.reference import ReferenceOptions as OneReference
from fused_clip.method.reference import Replaced
from fused_clip.runner.arguments import check_arguments
from fused_clip.runner.targets import check_allowed, check_targets, locate, make
from fused_clip.support.errors import InputError, part_errors
from fused_clip.support.option_types import (
    CountOrAuto,
    Name,
    Rounds,
    Seed,
    Share,
    StrictOptions,
    Text,
    TwoOrMore,
    complaints,
)
from fused_clip.support.signatures import accepted, keywords, takes_any_keyword


class _Group(BaseModel):
    """Keys that the options of a group share; an option may add its own."""

    model_config = ConfigDict(strict=True, extra="allow")
    target: str = Field(alias="_target_")
    partial: bool = Field(default=False, alias="_partial_")
    _allow: tuple[str, ...] = PrivateAttr(())

    def with_allowed(self, allow: Sequence[str]) -> Self:
        """Let the part be of modules that a user allows; give itself.

        Parameters
        ----------
        allow : names of modules.
        """
        self._allow = tuple(allow)
        return self


class DatasetOptions(SharedOptions, _Group):
    """Shared keys of ``dataset``."""


class BackboneOptions(_Group):
    """Shared keys of ``backbone``."""

    model: str = Field(description="open_clip model name, or `local-dir:<folder>`")
    pretrained: str | None = Field(default=None, description="open_clip tag, or a local .safetensors file")
    preprocessing: Literal["model", "paper"] = Field(
        default="model", description="model: the model's own; paper: squash to the input size, bilinear"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the model's weights"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        default="auto", description="auto, cpu, mps, cuda, or one of several: cuda:0"
    )
    batch_size: Annotated[int, Field(ge=1, le=MOST)] = Field(
        default=64, description="images embedded at a time"
    )
    jpeg: Literal["reduced", "whole"] = Field(
        default="reduced",
        description="reduced: a large JPEG is decoded at 1/2, 1/4 or 1/8; whole: at its size",
    )


class PromptOptions(_Group):
    """Shared keys of ``prompt``."""

    targets: Literal["class", "group"] = Field(
        default="class", description="custom, descriptions: what the prompts stand for"
    )
    texts: dict[Name, str | list[str]] | None = Field(
        default=None, description="custom: target -> its text, or several texts (an ensemble)"
    )
    templates: list[str] = Field(
        default_factory=list, description="custom: templates filled with the name of each target"
    )
    replace_underscores: bool = Field(
        default=False, description="custom: write names with spaces in the templates"
    )


class TextOptions(_Group):
    """Shared keys of ``text``."""

    uses_labels: bool = Field(default=False, description="false: the option is never given labels")
    control: bool = Field(
        default=True,
        description="true: images are paired by the prompts' own rows, whatever takes their place",
    )

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="shrunk: share of each prompt's distance to the mean of all that is left"
    )


class PairingOptions(_Group):
    """Shared keys of ``pairing``."""

    uses_labels: bool = Field(description="false: the option is never given labels")
    fraction: Share = Field(default=0.1, description="noisy: share of train rows that get another prompt")


class FusionOptions(_Group):
    """Shared keys of ``fusion``."""

    alpha: Share = Field(default=0.5, description="weighted, concatenation, slerp: share of the image")
    normalize_inputs: bool = Field(
        default=False, description="L2-normalise image and text rows before they are fused"
    )
    normalize_output: bool = Field(default=False, description="L2-normalise the fused rows")


class ClustererOptions(_Group):
    """Shared keys of ``clusterer``."""

    n_neighbors: TwoOrMore = Field(
        default=10, description="neighbours of a row in the affinity graph, the row itself included"
    )
    n_init: Rounds = Field(default=10, description="starts of k-means")
    approximate: bool | Literal["auto"] = Field(
        default="auto", description="approximate neighbours in the graph; auto: beyond 100,000 rows"
    )
    linkage: Literal["ward", "complete", "average", "single"] = Field(
        default="ward", description="agglomerative"
    )
    covariance_type: Literal["full", "tied", "diag", "spherical"] = Field(default="diag", description="gmm")
    min_cluster_size: TwoOrMore = Field(default=20, description="hdbscan")


class ClassifierOptions(_Group):
    """Shared keys of ``classifier``."""


class MethodOptions(StrictOptions):
    """Whether the method is chosen."""

    candidates: dict[Literal["none", "few", "many"], dict[Name, Replaced]] | None = Field(
        default=None,
        description="candidates for no labels, few (below 8 a class) and many: what each replaces",
    )


class TrackingOptions(_Group):
    """Shared keys of ``tracking``."""

    uri: str | None = Field(default=None, description="MLflow tracking URI; null: SQLite under output_dir")
    experiment: Text = Field(default="fused_clip", description="MLflow experiment")
    registered_model: Text | None = Field(
        default=None, description="name in the model registry; the model of each run becomes a version of it"
    )


class ReferencesOptions(StrictOptions):
    """Whether references are evaluated, and how often the random ones."""

    enabled: bool = Field(default=True, description="evaluate the references of conf/reference")
    draws: Rounds = Field(default=1, description="repetitions of a random reference; 5 in studies")


class FigureOptions(StrictOptions):
    """Whether figures are drawn, and of how many points."""

    enabled: bool = Field(default=True, description="draw figures")
    points: Annotated[int, Field(ge=10)] = Field(
        default=2000, description="rows in a t-SNE panel, stratified"
    )


class LabelsOptions(StrictOptions):
    """Which training labels may be used."""

    per_class: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="labels of each class that may be used, validation rows included; all training images are"
        " used without theirs. null: all; 0: none, with pairing=zero_shot vote=prompt",
    )
    seed: Seed = Field(default=0, description="draws the labelled rows")


class CalibrationOptions(StrictOptions):
    """Which training images are held out for guarantees."""

    share: Annotated[float, Field(ge=0, le=MOST_HELD_OUT)] = Field(
        default=0.0,
        description="training images held out of the method, for `fused-clip-predict --coverage` and"
        " `--unknown`: a share of those whose labels may be used; .2 is a good start, 0 is none",
    )
    seed: Seed = Field(default=0, description="draws them")


class OutputOptions(StrictOptions):
    """Which embeddings a run keeps."""

    embeddings: Literal["auto", "fused", "keys"] = Field(
        default="auto",
        description="fused: up to 10,000 fused rows a split; keys: only how to get them from the store; auto:"
        " keys in a sweep, fused in a single run. Vectors that came with the data are kept fused",
    )


class Options(StrictOptions):
    """Every option of a run."""

    seed: Seed = Field(default=0, description="drives every algorithm; dataset.seed draws subsets and splits")
    allow: list[str] = Field(
        default_factory=list,
        description="modules of your own whose parts `_target_` may name; on the command line alone:"
        " `--allow my_parts`. Those below `--config-dir` and the parts of plugins need none",
    )
    study: Text = Field(
        default="${hydra:runtime.choices.experiment}", description="tag by which the comparison view filters"
    )
    data_dir: str | None = Field(
        default="${oc.env:FUSED_CLIP_DATA,null}",
        description="mirror of the hub sets: `<data_dir>/<name>/<split>-*.parquet`",
    )
    output_dir: Text = Field(default="outputs", description="runs, embedding store and tracking database")
    clusters_per_target: CountOrAuto = Field(
        default=2,
        description="clusters for each target; auto: 1 to 5, chosen by the train rows without labels",
    )
    vote: Literal["label", "prompt", "hungarian"] = Field(
        default="label",
        description="name a cluster by the majority target of its rows, by their majority prompt, or by"
        " one-to-one matching of clusters to targets",
    )
    resume: bool | None = Field(
        default=None, description="take finished cells as they are; null: in a sweep, but not in a single run"
    )
    labels: LabelsOptions
    calibration: CalibrationOptions
    leak: Leak | None = Field(
        default=None,
        description="let the method use test labels in a way that was published by mistake, to measure what"
        " it is worth; such a run saves no model",
    )
    references: ReferencesOptions
    reference: dict[str, OneReference] | None = Field(
        default=None,
        description="references of the run, such as reference=[zero_shot]; null: all that there are",
    )
    figures: FigureOptions
    output: OutputOptions
    dataset: DatasetOptions
    backbone: BackboneOptions
    prompt: PromptOptions
    text: TextOptions
    pairing: PairingOptions
    fusion: FusionOptions
    clusterer: ClustererOptions
    classifier: ClassifierOptions
    method: MethodOptions
    tracking: TrackingOptions

    @property
    def groups(self) -> dict[str, _Group]:
        """Options of each group with a part."""
        return {name: value for name, value in self if isinstance(value, _Group)}

    @model_validator(mode="after")
    def _hand_down(self) -> Self:
        for group in self.groups.values():
            group.with_allowed(self.allow)
        return self


def defaults(model: type[BaseModel] = Options) -> dict[str, Any]:
    """Defaults of options as a config: "???" where there is none.

    Parameters
    ----------
    model : options; those of their groups are nested.
    """
    node: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            node[name] = defaults(kind)
        elif name != "partial":  # only options that are called later name it
            default = field.get_default(call_default_factory=True)
            node[field.alias or name] = MISSING if field.is_required() else default
    return node


# What the part of a group must have.
_MADE = {
    "dataset": ("train", "test", "class_names", "fingerprint"),
    "backbone": ("encode_prepared", "encode_texts", "fingerprint", "dim"),
    "prompt": ("texts", "target_names", "prompt_of_target"),
    "text": ("__call__",),
    "pairing": ("__call__",),
    "fusion": ("__call__",),
    "clusterer": ("fit_predict", "get_params"),
    "classifier": ("fit", "get_params", "uses_labels"),
    "tracking": ("check", "run"),
}

# conf/config.yaml starts from this node.
ConfigStore.instance().store("shared_options", defaults())


def check(cfg: DictConfig, words: Iterable[str] | None = None) -> Options:
    """Check a composed config against the typed options; no part is imported.

    Parameters
    ----------
    cfg : without Hydra's node.
    words : overrides of the command line, which alone may allow modules; None where the caller's own code
        composed `cfg`.

    Raises
    ------
    InputError
        One line for each option at fault: its name, the rule, the value received.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(str(error.full_key or "config"), str(error).splitlines()[0]) from error
    try:
        options = Options.model_validate(plain)
    except ValidationError as error:
        found = complaints(error, plain)
        found[0].args = ("\n".join(map(str, found)),)
        raise found[0] from error
    check_allowed(options.allow, words)
    for name, group in options.groups.items():
        check_targets(name, group.model_dump(by_alias=True), options.allow)
    return options


def build(options: _Group, **runtime: object) -> Any:
    """Make the part that a group's options name.

    The target gets those of the group's shared keys and of `runtime` that its signature names, and all of the
    option's own keys. With ``_partial_: true`` the target is returned with these filled in, to be called
    later.

    Parameters
    ----------
    options : of a group.
    runtime : arguments that the program passes.
    """
    group = type(options).__name__.removesuffix("Options").lower()
    target = locate(group, options.target, options._allow)
    try:
        known = keywords(target)
    except (TypeError, ValueError) as error:  # a module, or a builtin without a signature
        rule = f"must name a function or class whose arguments are known ({error})"
        raise InputError(f"{group}._target_", rule, options.target) from error
    shared = options.model_dump(include=set(type(options).model_fields))
    own = options.model_extra or {}
    for name in own:
        if name not in known and not takes_any_keyword(target):
            rule = f"is not an option of {options.target}"
            choices = {*known, *shared} - {*runtime, "target", "partial"}
            raise InputError(f"{group}.{name}", rule, own[name], choices=sorted(choices))
    check_arguments(group, target, own)
    with part_errors(group, target):
        arguments = {**accepted(target, {**shared, **runtime}), **make(group, own, options._allow)}
        made = functools.partial(target, **arguments) if options.partial else target(**arguments)
    if lacking := [name for name in _MADE.get(group, ()) if not _has(made, name)]:
        rule = f"must make a {group}, and what it made has no {', '.join(lacking)}"
        raise InputError(f"{group}._target_", rule, options.target)
    return made


def _has(made: object, name: str) -> bool:
    """Whether a part has an attribute; no property is computed, such as a hash of a model's weights."""
    missing = object()
    return inspect.getattr_static(made, name, missing) is not missing
