"""Parts that the options of a group name by ``_target_``: this package's, and those of plugins.

A plugin's YAML may name what its own package defines. For all else it has the rules of the user's YAMLs.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.plugins import Plugin, plugins
from fused_clip.support.yaml_files import load_yaml


def parts_of(group: str) -> dict[str, Plugin | None]:
    """Names of the parts of a group, each with the plugin that has it, or None for this package's.

    Parameters
    ----------
    group : such as ``clusterer``.
    """
    found: dict[str, Plugin | None] = {}
    for plugin in plugins():
        found |= {name: plugin for name in _named_by(plugin.conf / group) if plugin.owns(name)}
    return found | dict.fromkeys(_named_by(conf_dir() / group))


def targets_in(place: str, node: Any, *, nested: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Give place and value of every ``_target_`` of a node, and whether it is below another.

    Parameters
    ----------
    place : of the node.
    node : of a config.
    nested : whether the node is below another.
    """
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from targets_in(f"{place}.{index}", value, nested=True)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_":
                yield f"{place}._target_", value, nested
            else:
                yield from targets_in(f"{place}.{key}", value, nested=True)


def import_part(option: str, target: str) -> Any:
    """Import what a ``_target_`` names.

    Parameters
    ----------
    option : for errors.
    target : dotted name, of what may be imported.

    Raises
    ------
    InputError
        If it is not there.
    """
    from hydra.utils import get_object

    try:
        return get_object(target)
    except (ImportError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(option, f"must name something importable ({reason})", target) from error


def home_of(made: Any) -> str:
    """Name of the module in which an object is defined.

    Parameters
    ----------
    made : function, class, partial or module.
    """
    while isinstance(made, partial):
        made = made.func
    if inspect.ismodule(made):
        return made.__name__
    return getattr(made, "__module__", None) or type(made).__module__


def check_parts(group: str, node: Any) -> None:
    """Check that every ``_target_`` of an option is a part of its group, defined where its name says.

    Parameters
    ----------
    group : of the option.
    node : the option's YAML.

    Raises
    ------
    InputError
        On the first that is not, or can't be imported.
    """
    known = parts_of(group)
    for place, target, _ in targets_in(group, node):
        if target not in known:
            raise InputError(place, f"must be a part of the group {group}", target, choices=sorted(known))
        plugin = known[target]
        if plugin is not None and not plugin.owns(home := home_of(import_part(place, target))):
            raise InputError(place, f"names something of the module {home}, which {plugin} lacks", target)


def plugin_class(group: str, name: str, base: type) -> type | None:
    """Find a class that a plugin has for a group; None without one.

    Only what the plugin's own YAMLs of the group name is imported: `name` may come from a file of somebody
    else.

    Parameters
    ----------
    group : such as ``classifier``.
    name : ``module:qualified name``.
    base : it must derive from.

    Raises
    ------
    InputError
        If a part of the plugin can't be imported.
    """
    module, _, qualified = name.partition(":")
    own = [target for target, plugin in parts_of(group).items() if plugin and plugin.owns(module)]
    for target in own:
        import_part(f"{group}._target_", target)
    found: Any = sys.modules.get(module) if own else None
    for attribute in qualified.split("."):
        found = getattr(found, attribute, None)
    fits = inspect.isclass(found) and issubclass(found, base) and found.__module__ == module
    return found if fits else None


@cache
def _named_by(folder: Path) -> frozenset[str]:
    """Every ``_target_`` in the YAMLs of a folder; one that can't be read names none."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.yaml")):
        try:
            node = load_yaml(read_regular(path, MOST_TEXT))
        except (OSError, ValueError):  # composing says so, if it is chosen
            continue
        found |= {str(target) for _, target, _ in targets_in("", node)}
    return frozenset(found)
