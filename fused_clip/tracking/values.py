"""Keys and values in the form and the size that mlflow takes."""

import re
from collections.abc import Mapping
from posixpath import normpath

_LONGEST_VALUE, _LONGEST_KEY = 5_000, 250  # mlflow/utils/validation.py


def mlflow_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as mlflow takes them; those without a value are left out."""
    return {mlflow_key(key): cut(value) for key, value in tags.items() if value}


def cut(value: str) -> str:
    """`value`, or as much of it as fits."""
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def mlflow_key(name: str) -> str:
    """`name` in the characters and the form that mlflow takes for keys."""
    plain = normpath(re.sub(r"[^\w./: -]", "_", name)).lstrip("./")
    return plain[:_LONGEST_KEY] or "_"
