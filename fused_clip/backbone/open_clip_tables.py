"""The models and pretrained tags that open_clip ships, read from its files: importing it takes seconds."""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fused_clip.support.errors import InputError


def model_names() -> list[str]:
    """Names of the architectures that open_clip knows."""
    return sorted(file.stem for file in (_folder() / "model_configs").glob("*.json"))


def model_config(name: str) -> dict[str, Any]:
    """Architecture of a model, as open_clip's JSON holds it."""
    config: dict[str, Any] = json.loads((_folder() / "model_configs" / f"{name}.json").read_text("utf-8"))
    return config


def pretrained_tags(model: str) -> Mapping[str, dict[str, Any]]:
    """Tags of a model: where their weights are, their preprocessing and activation; empty if it has none."""
    return _pretrained().get(model, {})


@functools.cache
def _pretrained() -> Mapping[str, Mapping[str, dict[str, Any]]]:
    """Tags of every model, as open_clip's own table holds them.

    They come from the statements of its ``pretrained.py`` run without that module's imports. Where those
    have changed so that they do not run alone, open_clip is imported.
    """
    namespace: dict[str, Any] = {"copy": copy, "partial": functools.partial}
    try:
        for module in ("constants", "pretrained"):
            tree = ast.parse((_folder() / f"{module}.py").read_text("utf-8"))
            tree.body = [
                node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Try))
            ]
            flags = __future__.annotations.compiler_flag  # annotations name what was not imported
            exec(compile(tree, module, "exec", flags), namespace)  # noqa: S102  open_clip's own code
        table: dict[str, dict[str, dict[str, Any]]] = namespace["_PRETRAINED"]
    except (NameError, KeyError, AttributeError, TypeError):
        import open_clip

        table = {model: {} for model in open_clip.list_models()}
        for model, tag in open_clip.list_pretrained():
            table.setdefault(model, {})[tag] = open_clip.get_pretrained_cfg(model, tag)
    return table


def _folder() -> Path:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise InputError("backbone", "needs the package open_clip_torch", hint="pip install open_clip_torch")
    return Path(spec.origin).parent
