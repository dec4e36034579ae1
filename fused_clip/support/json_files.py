"""JSON that others may have written or damaged."""

import json
from typing import Any


def parse_json(content: str | bytes) -> Any:
    """Parse JSON.

    Parameters
    ----------
    content : text, or its bytes in UTF-8.

    Raises
    ------
    ValueError
        On anything else, and on JSON that is nested too deeply.
    """
    try:
        return json.loads(content if isinstance(content, str) else content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_json_object(content: str | bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Parameters
    ----------
    content : text, or its bytes in UTF-8.

    Raises
    ------
    ValueError
        On anything else.
    """
    found = parse_json(content)
    if not isinstance(found, dict):
        raise ValueError("it must be an object, {...}")
    return found
