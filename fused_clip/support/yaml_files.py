"""YAML that others may have written or damaged."""

from collections.abc import Hashable
from typing import Any

import yaml

_MOST_VALUES = 2_000_000
_DEEPEST = 50
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds of PyYAML lack the fast one


class _Loader(_SAFE):  # type: ignore[misc]
    """Refuses keys that stand twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else ("", "")
            if name[1] and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(name)
        return dict(super().construct_mapping(node, deep))


def load_yaml(text: str | bytes) -> Any:
    """Parse YAML of plain values.

    Parameters
    ----------
    text : bytes are UTF-8; with aliases written out at most 2 million values, nested at most 50 deep.

    Raises
    ------
    ValueError
        On anything else, and if a key stands twice; its message is one line.
    """
    try:
        plain = text if isinstance(text, str) else text.decode()
        _check_size(plain)
        return yaml.load(plain, Loader=_Loader)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{line}") from error
    except Exception as error:  # PyYAML raises anything on odd values with a tag, such as !!bool x
        message = str(error) if isinstance(error, (ValueError, yaml.YAMLError)) else repr(error)
        raise ValueError(message.partition("\n")[0]) from error


def _check_size(text: str) -> None:
    """Refuse what would be large or deep: a few lines of aliases can stand for billions of values."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(text, Loader=_SAFE):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise ValueError(f"*{event.anchor} contains itself")
            values += sizes.get(event.anchor, 1)
        if values > _MOST_VALUES:
            raise ValueError(f"aliases make it larger than {_MOST_VALUES:,} values")
        if len(open_nodes) > _DEEPEST:
            raise ValueError(f"it is nested too deeply: more than {_DEEPEST} levels")
