"""JSON of a request -> image files and options, and answers -> JSON: MLflow's scoring protocol.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from fused_clip.serving.asked import Asked
from fused_clip.serving.json_values import finite, from_base64, kind_of
from fused_clip.support.errors import InputError

_COLUMN = "image"
_PARAMS = "params"


class WireRequest(NamedTuple):
    """A request as read.

    Parameters
    ----------
    contents : image files.
    asked : options.
    """

    contents: list[bytes]
    asked: Asked


def read_request(body: bytes | bytearray, most: int) -> WireRequest:
    """Read a request.

    It is a JSON object with one of these, where an image is the base64 text of its file, and with ``params``
    if there are options::

        {"dataframe_split": {"columns": ["image"], "data": [[image], ...]}}
        {"dataframe_records": [{"image": image}, ...]}
        {"instances": [image, ...]} or {"instances": [{"image": image}, ...]}
        {"inputs": [image, ...]} or {"inputs": {"image": [image, ...]}}

    Parameters
    ----------
    body : JSON in UTF-8.
    most : images.

    Raises
    ------
    InputError
        If it is anything else, or has no image, or more than `most`.
    """
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InputError("body", f"must be JSON ({_line(error)})") from error
    given = sorted(set(content) - {_PARAMS}) if isinstance(content, dict) else []
    if len(given) != 1 or given[0] not in _FORMATS:
        rule = "must be a JSON object with one of these, and with params if there are options"
        raise InputError("body", rule, given or kind_of(content), choices=_FORMATS)
    params = content.get(_PARAMS)
    if not isinstance(params, dict | None):
        raise InputError(_PARAMS, "must be an object of names and values", params)
    asked = Asked.of(params or {})
    cells = _FORMATS[given[0]](content[given[0]])
    if not 1 <= len(cells) <= most:
        raise InputError(given[0], f"must have between 1 and {most:,} images", len(cells))
    return WireRequest([from_base64(f"image {n}", cell) for n, cell in enumerate(cells, 1)], asked)


def written(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Write answers, with null for an infinite margin.

    Parameters
    ----------
    records : one an image.
    """
    rows = [{name: finite(value) for name, value in record.items()} for record in records]
    return json.dumps({"predictions": rows}, ensure_ascii=False, allow_nan=False).encode()


def _split(content: Any) -> Sequence[Any]:
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise InputError("dataframe_split", "must be an object with a list data, and with columns")
    columns = content.get("columns", [_COLUMN])
    if columns != [_COLUMN]:
        raise InputError("dataframe_split.columns", f"must be [{_COLUMN!r}]", columns)
    rows = content["data"]
    for n, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != 1:
            raise InputError("dataframe_split.data", f"must have rows of one image; row {n} is not")
    return [row[0] for row in rows]


def _records(content: Any) -> Sequence[Any]:
    return [
        _cell("dataframe_records", n, row) for n, row in enumerate(_list("dataframe_records", content), 1)
    ]


def _instances(content: Any) -> Sequence[Any]:
    rows = _list("instances", content)
    return [_cell("instances", n, row) if isinstance(row, dict) else row for n, row in enumerate(rows, 1)]


def _inputs(content: Any) -> Sequence[Any]:
    if isinstance(content, dict):
        content = _cell("inputs", 0, content)
    return _list("inputs", content)


def _list(name: str, content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise InputError(name, f"must be a list, and is {kind_of(content)}")
    return content


def _cell(name: str, number: int, row: Any) -> Any:
    if not isinstance(row, dict) or list(row) != [_COLUMN]:
        which = f"; row {number} is not" if number else ""
        raise InputError(name, f"must have {{{_COLUMN!r}: ...}} and nothing else{which}")
    return row[_COLUMN]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


_FORMATS: dict[str, Callable[[Any], Sequence[Any]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}
