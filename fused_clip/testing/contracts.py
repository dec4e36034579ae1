"""What an option's YAML and the signature of its part must be."""

import inspect
import re
from types import MappingProxyType
from typing import Any

from omegaconf import OmegaConf

from fused_clip.runner.targets import check_targets, locate
from fused_clip.support.conf import conf_dir
from fused_clip.testing.chosen import Chosen

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_VALUES = frozenset({"true", "false", "null", "inf", "nan", "yes", "no", "on", "off"})  # of YAML or Hydra
# What the program itself passes to a part of each group.
_PASSED = MappingProxyType(
    {
        "dataset": {"data_dir", "recipe"},
        "backbone": {"dataset"},
        "prompt": {"dataset"},
        "text": {"texts", "members", "templates", "prompts", "images", "targets", "backbone", "random_state"},
        "pairing": {"images", "texts", "targets", "prompt_of_target", "partition", "random_state"},
        "tracking": {"output_dir"},
    }
)


def check_contract(chosen: Chosen) -> None:
    """Check name, comment and types of an option, and the signature of its part.

    Parameters
    ----------
    chosen : the option.
    """
    known = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())
    group = chosen.group.partition("/")[0]
    chosen.require(group in known, f"must be of a group of fused_clip: {', '.join(known)}")
    named = _NAME.fullmatch(chosen.name) and chosen.name.lower() not in _VALUES
    chosen.require(named, "its name must be letters, digits and '_', and no value such as true")
    _check_comment(chosen)
    if chosen.group == "report":
        locate(chosen.group, chosen.own.get("_target_", ""))
    elif group != "hydra":
        options = chosen.options
        for place, part in options.groups.items():
            check_targets(place, part.model_dump(by_alias=True), options.allow)
        if chosen.group in options.groups:
            _check_part(chosen)


def _check_comment(chosen: Chosen) -> None:
    lines = [line for line in chosen.file.read_text("utf-8").splitlines() if line.startswith("#")]
    said = [line for line in lines if "@package" not in line]
    chosen.require(said and len(said[0]) > len("# "), "its YAML needs a comment that says what it is")


def _check_part(chosen: Chosen) -> None:
    """Check that the part of a group accepts what it is given."""
    group, options = chosen.group, chosen.options
    schema = type(options.groups[group])
    node: Any = OmegaConf.to_container(chosen.composed[group], resolve=False)
    shared = {field.alias or key for key, field in schema.model_fields.items()}
    overridable = shared - {"_target_", "_partial_"}
    chosen.require(overridable <= set(node), f"its YAML must leave the shared keys of {group} as they are")
    target = locate(group, node["_target_"], options.allow)
    parameters = inspect.signature(target).parameters
    any_keyword = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    own = set(node) - shared
    unknown = sorted(map(str, own - set(parameters)))
    chosen.require(any_keyword or not unknown, f"its target has no parameter {', '.join(unknown)}")
    required = {
        name
        for name, one in parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }
    passed = set(_PASSED.get(group, ()))
    if group in ("text", "pairing") and not options.groups[group].uses_labels:  # type: ignore[attr-defined]
        passed.discard("targets")
    if group == "fusion" and options.fusion.partial:
        passed |= set(list(parameters)[:2])  # the rows, by position
    lacking = sorted(required - shared - own - passed)
    chosen.require(not lacking, f"its target needs {', '.join(lacking)}, which nothing gives it")
