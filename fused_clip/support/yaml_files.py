"""YAML that others may have written or damaged."""

from typing import Any

import yaml

_MOST_CHARACTERS = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds of PyYAML lack the fast one


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values.

    Parameters
    ----------
    text : at most a million characters and, with aliases written out, 100,000 values.

    Raises
    ------
    ValueError
        On anything else; its message is one line.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, and at most {_MOST_CHARACTERS:,} are read")
    try:
        _check_size(text)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{line}") from error
    except Exception as error:  # PyYAML raises anything on odd values with a tag, such as !!bool x
        message = str(error) if isinstance(error, (ValueError, yaml.YAMLError)) else repr(error)
        raise ValueError(message.partition("\n")[0]) from error


def _check_size(text: str) -> None:
    """Refuse what would be large or deep: a few lines of aliases can stand for billions of values."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(text, Loader=_LOADER):
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
            raise ValueError(f"it has more than {_MOST_VALUES:,} values")
        if len(open_nodes) > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
