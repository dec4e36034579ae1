"""Wrong values of every option, found: in the typed options, and in what each option's target takes."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.utils import get_object
from omegaconf import OmegaConf
from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError

from fused_clip.runner.config import Options
from fused_clip.support.conf import conf_dir
from tests import forks

GROUPS = ("dataset", "backbone", "prompt", "text", "pairing", "fusion", "clusterer", "classifier", "tracking")
_ANY_NUMBER = {"coef0", "verbose"}  # scikit-learn takes -1 and 2
# Arguments that the program passes, and no user.
_RUNTIME = {
    "recipe", "dataset", "data_dir", "output_dir", "random_state", "n_clusters", "n_components", "texts",
    "images", "targets", "prompts", "partition", "prompt_of_target", "templates", "members", "votes",
    "word_rows",
}  # fmt: skip
# What else an option needs, so that its own keys are what is wrong.
NEEDED = {
    "dataset=csv": ("dataset.path={data}/photos.csv", "backbone=compact"),
    "dataset=embeddings": ("dataset.path={data}/vectors/right.npz",),
    "dataset=imagefolder": ("dataset.root={data}/photos", "backbone=compact"),
    "dataset=webdataset": ("dataset.path={data}/shards", "backbone=compact"),
    "prompt=descriptions": ("prompt.file={data}/texts/texts.json",),
    "text=zpe": ("prompt=templates",),
    "text=best": ("prompt=templates",),
    "text=worst": ("prompt=templates",),
    "text=coop": ("backbone=compact",),
    "text=upl": ("backbone=compact",),
    "clusterer=tac": ("backbone=compact",),
}
QUICK = {word.partition("=")[0].partition(".")[0]: word for word in (*forks.QUICK, "tracking=none")}


@dataclass(frozen=True)
class Case:
    """A wrong command line.

    Parameters
    ----------
    name : of the case.
    words : of the command line; ``{data}`` is the folder of files, ``{out}`` an empty one.
    option : that the error must name.
    value : that the error must show; empty if there is none.
    command : a key of `tests.forks.MAINS`.
    """

    name: str
    words: tuple[str, ...]
    option: str
    value: str
    command: str = "run"


def found_cases() -> Iterator[Case]:
    """Cases of every shared option, of every option's own keys, and of every group."""
    yield from _shared()
    yield from _own()
    for group in (*GROUPS, "method", "reference", "experiment"):
        wrong = "[nonsense]" if group == "reference" else "nonsense"
        yield _case(group, f"{group}={wrong}", "nonsense", "unknown option")
    for group in (*GROUPS, "method", "labels", "references", "figures", "output"):
        yield _case(f"{group}.nonsense", f"{group}.nonsense=1", "", "unknown key")
        yield _case(f"{group}.nonsense", f"+{group}.nonsense=1", "1", "added key")


def _shared() -> Iterator[Case]:
    schema = Options.model_json_schema(by_alias=True)
    definitions = schema["$defs"]

    def walk(node: Mapping[str, Any], place: str) -> Iterator[Case]:
        for key, field in node["properties"].items():
            option = f"{place}{key}"
            inner = definitions[field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            if key.startswith("_") or option in {"reference", "method.candidates", "leak", "allow"}:
                continue
            if "properties" in inner:
                yield from walk(inner, f"{option}.")
                continue
            for kind, text, value in wrong_values(inner, definitions):
                if (option, kind) == ("dataset.name", "number"):  # names may be numbers
                    continue
                yield _case(option, f"{option}={text}", repr(value), kind)

    yield from walk(schema, "")


def _own() -> Iterator[Case]:
    seen = set()
    for group in GROUPS:
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            choice = f"{group}={file.stem}"
            content = OmegaConf.to_container(OmegaConf.load(file))
            assert isinstance(content, dict)
            target = content["_target_"]
            shared = Options.model_fields[group].annotation.model_fields  # type: ignore[union-attr]
            for name, parameter in _parameters(target).items():
                if name in _RUNTIME | _ANY_NUMBER or name in shared or (target, name) in seen:
                    continue
                seen.add((target, name))
                plus = "" if name in content else "+"
                for kind, text, value in wrong_values(_schema_of(parameter, content.get(name)), {}):
                    option = f"{group}.{name}"
                    yield _case(option, f"{plus}{option}={text}", repr(value), kind, choice)


def _parameters(target: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(get_object(target), eval_str=True).parameters)


def _schema_of(parameter: inspect.Parameter, default: object) -> dict[str, Any]:
    """Schema of an argument by its annotation, or else by its default."""
    if parameter.annotation is not parameter.empty:
        try:
            config = ConfigDict(strict=True)
            return TypeAdapter(parameter.annotation, config=config).json_schema()
        except (PydanticUserError, PydanticSchemaGenerationError):
            return {}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "choice"}
    kind = kinds.get(type(parameter.default if default is None else default))
    return {} if kind is None else {"type": kind, "loose": True}


def wrong_values(
    schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[tuple[str, str, object]]:
    """Kind of each wrong value, as a command line has it, and as Python reads it."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    parts = [schema, *schema.get("anyOf", ())]
    types = {part["type"] for part in parts if "type" in part}
    low = [part["minimum"] - 1 for part in parts if "minimum" in part]
    low += [part["exclusiveMinimum"] for part in parts if "exclusiveMinimum" in part]
    high = [part["maximum"] + 1 for part in parts if "maximum" in part]
    high += [part["exclusiveMaximum"] for part in parts if "exclusiveMaximum" in part]
    chosen = any("enum" in part or "const" in part or "pattern" in part for part in parts)
    if not types:
        return
    if "null" not in types and "choice" not in types:
        yield "null", "null", None
    if types & {"integer", "number"}:
        yield "word", "nonsense", "nonsense"
        yield "list", "[1]", [1]
        yield "not a number", "nan", float("nan")
        yield "infinite", "inf", float("inf")
        for value in low or [-1]:
            yield "below", str(value), value
        for value in high:
            yield "above", str(value), value
    if "integer" in types and "number" not in types and "loose" not in schema:
        yield "fraction", "1.5", 1.5
        if "boolean" not in types:
            yield "boolean", "true", True
    if "boolean" in types and "string" not in types:
        yield "word", "nonsense", "nonsense"
        yield "number", "2", 2
    if "string" in types and "array" not in types:
        yield "list", "[1]", [1]
        yield "number" if not chosen else "choice", *(("7", 7) if not chosen else ("nonsense", "nonsense"))
        if any(part.get("minLength") for part in parts):
            yield "empty", "''", ""
    if "choice" in types:
        yield "choice", "nonsense", "nonsense"
    if types & {"array", "object"} and "string" not in types:
        yield "word", "nonsense", "nonsense"
        yield "number", "7", 7


def _case(option: str, word: str, value: str, kind: str, choice: str = "") -> Case:
    group = option.partition(".")[0]
    quick = {**QUICK, group: ""} if choice or "." not in option else dict(QUICK)
    needed = NEEDED.get(choice, ())
    quick = {key: text for key, text in quick.items() if not any(one.startswith(f"{key}=") for one in needed)}
    words = [*filter(None, quick.values()), *filter(None, [choice]), *needed, word]
    name = " ".join(filter(None, [choice, word]))
    return Case(f"{name} ({kind})", tuple(words), option, value)
