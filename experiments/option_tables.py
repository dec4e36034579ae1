"""Every option of a run as Markdown tables, from the schema and the folder of config groups."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fused_clip.report.markdown import escape, table_lines
from fused_clip.runner.config import Options
from fused_clip.support.conf import conf_dir

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_NOT_RUNS = {"report", "hydra"}  # of another command, of Hydra
Schema = Mapping[str, Any]


def option_tables() -> str:
    """Tables of the options of a run, and of each group's shared options and choices."""
    whole = Options.model_json_schema(by_alias=True)
    nodes = {name: _resolved(node, whole) for name, node in whole["properties"].items()}
    groups = {name: node for name, node in nodes.items() if "properties" in node}
    folders = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())
    own = {name: node for name, node in nodes.items() if name not in {*groups, *folders}}
    names = [*groups, *(name for name in folders if name not in {*groups, *_NOT_RUNS})]
    parts = ["## Options of a run", _shared({"properties": own}, whole, "")]
    for name in names:
        node = groups.get(name, {"properties": {}})
        parts += [f"## `{name}`", _shared(node, whole, f"{name}."), _choices(conf_dir() / name, node)]
    return "\n\n".join(part for part in parts if part)


def _shared(node: Schema, whole: Schema, prefix: str) -> str:
    rows = []
    for option, entry in _entries(node, whole, prefix):
        said = entry.get("description", "").replace("|", r"\|")
        rows.append([f"`{option}`", _kind(entry, whole), _default(entry), said])
    return table_lines(["option", "type", "default", "description"], rows, set()) if rows else ""


def _entries(node: Schema, whole: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    required = node.get("required", ())
    for name, entry in node["properties"].items():
        resolved = _resolved(entry, whole)
        if "properties" in resolved:
            yield from _entries(resolved, whole, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield prefix + name, {**entry, "required": name in required}


def _resolved(node: Schema, whole: Schema) -> Schema:
    name = node.get("$ref", "").rpartition("/")[2]
    return whole["$defs"][name] if name else node


def _kind(node: Schema, whole: Schema) -> str:
    """Name the values that an option takes."""
    if "anyOf" in node:
        return " or ".join(_kind(kind, whole) for kind in node["anyOf"])
    if "const" in node or "enum" in node:
        return " or ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if node["type"] == "array":
        return f"list of {_kind(node['items'], whole)}"
    if node["type"] == "object":
        return f"mapping of text to {_kind(node['additionalProperties'], whole)}"
    return _WORDS.get(node["type"], f"`{node['type']}`") + _range(node)


def _range(node: Schema) -> str:
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {node[bound]}" for bound, sign in bounds.items() if bound in node]
    return f" {', '.join(said)}" if said else ""


def _default(node: Schema) -> str:
    if node["required"]:
        return "set by the choice"
    value = node.get("default", [])
    shown = value if isinstance(value, str) else yaml.safe_dump(value).removesuffix("...\n").strip()
    return f"`{shown}`"


def _choices(folder: Path, node: Schema) -> str:
    """Each option of a group: the first words of its file, and the keys of its own."""
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        keys = [key for key in yaml.safe_load(text) or {} if key not in node["properties"]]
        own = ", ".join(f"`{key}`" for key in keys if key != "defaults") if node["properties"] else ""
        rows.append([f"`{folder.name}={path.stem}`", escape(_comment(text)), own])
    return table_lines(["choice", "what it is", "keys of its own"], rows, set()) if rows else ""


def _comment(text: str) -> str:
    """The first comment of a file, up to a line that ends a sentence."""
    said = []
    for line in text.splitlines():
        if line.startswith("# ") and "@package" not in line:
            said.append(line.removeprefix("# ").strip())
            if said[-1].endswith((".", ":", "?")):
                break
    return " ".join(said).removesuffix(":")
