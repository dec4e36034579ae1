"""The door between Hydra and the package: typed options, checked before work, and parts built from them."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Unpack, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fused_clip.method.reference import ReferenceOptions as OneReference
from fused_clip.support.errors import InputError


def _name(value: object) -> object:
    """YAML reads an unquoted 0 as a number: it is the name "0". A boolean or null is no name."""
    if isinstance(value, (bool, type(None))):
        raise ValueError(f"must be a name; YAML reads it as {value!r}: quote it")
    return str(value) if isinstance(value, (int, float)) else value


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Options(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Group(BaseModel):
    """Keys that the options of a group share; an option may add its own."""

    model_config = ConfigDict(strict=True, extra="allow")
    target: str = Field(alias="_target_")
    partial: bool = Field(default=False, alias="_partial_")


class CaptionOptions(_Options):
    """Caption templates of a dataset."""

    task: str
    grouped: str
    hierarchical: str
    generic: str


class DatasetOptions(_Group):
    """Shared keys of ``dataset``."""

    name: Name
    path: str | None
    revision: str
    image_column: str
    label_column: str
    labels: Literal["given", "none"]
    classes: list[Name] | None
    class_names: list[Name] | None
    display_names: dict[Name, Name] | None
    groups: dict[Name, list[Name]] | None
    captions: CaptionOptions
    swap: Literal["previous", "next"]
    root: str | None
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    from_split: Literal["test"] | None
    n_train: Count | None
    n_test: Count | None
    seed: Seed
    on_bad_image: Literal["error", "skip"]


class BackboneOptions(_Group):
    """Shared keys of ``backbone``."""

    model: str
    pretrained: str | None
    preprocessing: Literal["model", "paper"]
    precision: Literal["auto", "float32", "bfloat16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    batch_size: Count


class PromptOptions(_Group):
    """Shared keys of ``prompt``."""

    targets: Literal["class", "group"]
    texts: dict[Name, str | list[str]] | None
    templates: list[str]
    replace_underscores: bool


class TextOptions(_Group):
    """Shared keys of ``text``."""


class PairingOptions(_Group):
    """Shared keys of ``pairing``."""

    uses_labels: bool
    fraction: Annotated[float, Field(ge=0, le=1)]


class FusionOptions(_Group):
    """Shared keys of ``fusion``."""

    alpha: Annotated[float, Field(ge=0, le=1)]
    normalize_inputs: bool
    normalize_output: bool


class ClustererOptions(_Group):
    """Shared keys of ``clusterer``."""

    n_neighbors: Annotated[int, Field(ge=2)]
    n_init: Count
    approximate: bool | Literal["auto"]
    linkage: Literal["ward", "complete", "average", "single"]
    covariance_type: Literal["full", "tied", "diag", "spherical"]
    min_cluster_size: Annotated[int, Field(ge=2)]


class ClassifierOptions(_Group):
    """Shared keys of ``classifier``."""


class TrackingOptions(_Group):
    """Shared keys of ``tracking``."""

    uri: str | None
    experiment: Annotated[str, Field(min_length=1)]
    registered_model: Annotated[str, Field(min_length=1)] | None


class ReferencesOptions(_Options):
    """Whether references are evaluated beside the method, and how often the random ones."""

    enabled: bool
    draws: Count


class FigureOptions(_Options):
    """Whether figures are drawn, and of how many points."""

    enabled: bool
    points: Annotated[int, Field(ge=10)]


class OutputOptions(_Options):
    """What a run keeps of its embeddings."""

    embeddings: Literal["auto", "fused", "keys"]


class Options(_Options):
    """Every option of a run."""

    seed: Seed
    study: Annotated[str, Field(min_length=1)]
    data_dir: str | None
    output_dir: Annotated[str, Field(min_length=1)]
    clusters_per_target: Count
    vote: Literal["label", "prompt", "hungarian"]
    resume: bool | None
    references: ReferencesOptions
    reference: dict[str, OneReference] | None = None
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
    tracking: TrackingOptions


def check(cfg: DictConfig) -> Options:
    """Check a composed config against the typed options.

    Raises
    ------
    InputError
        One line an option at fault: its name, the rule, the value received.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(str(error.full_key or "config"), str(error).splitlines()[0]) from error
    try:
        options = Options.model_validate(plain)
    except ValidationError as error:
        complaints = [complaint(detail) for detail in error.errors()]
        first = complaints[0]
        first.args = ("\n".join(map(str, complaints)),)
        raise first from error
    return options


def complaint(detail: Mapping[str, Any]) -> InputError:
    """Say in this package's grammar what pydantic found."""
    option = ".".join(str(part) for part in detail["loc"])
    rule = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return InputError(option, rule, detail["input"])


def build(options: _Group, **runtime: object) -> Any:
    """Make the part that a group's options name.

    The target gets those of the group's shared keys and of `runtime` that it accepts (see `accepted`), and
    all of the option's own keys. With ``_partial_: true`` the target is returned with these filled in,
    to be called later.

    Raises
    ------
    InputError
        If the target can't be imported or does not accept a key that is the option's own.
    """
    group = type(options).__name__.removesuffix("Options").lower()
    target = locate(group, options.target)
    known, takes_any = accepted(target)
    shared = options.model_dump(include=set(type(options).model_fields))
    given = {name: value for name, value in {**shared, **runtime}.items() if name in known}
    own = options.model_extra or {}
    for name in own:
        if name not in known and not takes_any:
            rule = f"is not an option of {options.target}"
            raise InputError(f"{group}.{name}", rule, own[name], choices=sorted(known))
    arguments = {**given, **_nested(own)}
    return functools.partial(target, **arguments) if options.partial else target(**arguments)


def accepted(target: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Names of the keywords that a target takes, and whether it takes any other.

    ``**options: Unpack[SomeTypedDict]`` stands for the keys of the typed dictionary.
    """
    names: set[str] = set()
    takes_any = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.add(parameter.name)
            continue
        hint = parameter.annotation
        if isinstance(hint, str):
            hint = get_type_hints(target).get(parameter.name)
        if get_origin(hint) is Unpack:
            names |= get_args(hint)[0].__annotations__.keys()
        else:
            takes_any = True
    return frozenset(names), takes_any


def locate(group: str, target: str) -> Any:
    """Import what a ``_target_`` names.

    Raises
    ------
    InputError
        If it can't be imported.
    """
    from hydra.utils import get_object

    try:
        return get_object(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{group}._target_", f"must name something importable ({error})", target) from error


def _nested(own: Mapping[str, Any]) -> dict[str, Any]:
    """Instantiate the parts that an option's own keys may hold in turn."""
    from hydra.utils import instantiate

    made: dict[str, Any] = instantiate(OmegaConf.create(dict(own)), _convert_="all")
    return made
