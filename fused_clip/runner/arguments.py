"""Arguments of parts, checked against the annotations of their signatures."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from fused_clip.support.option_types import complaints

_CONFIG = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def check_arguments(group: str, function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """Refuse values that a signature's annotations do not allow; what has no annotation is not checked.

    Parameters
    ----------
    group : of the option, for the error.
    function : function or class that will get them.
    given : argument name -> value, as a config has it.

    Raises
    ------
    InputError
        On the first value of another type, or outside the range that the annotation gives.
    """
    kinds = _kinds(function)
    for name, value in given.items():
        kind = kinds.get(name)
        if kind is None or "_target_" in repr(value):
            continue
        try:
            kind.validate_json(json.dumps(value))  # a list is a tuple there, and text a path
        except ValidationError as error:
            raise complaints(error, value, f"{group}.{name}")[0] from error


@functools.cache
def _kinds(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What checks each annotated argument."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except (NameError, TypeError, ValueError):  # names that only a type checker imports
        return {}
    found = {}
    for parameter in parameters:
        if parameter.annotation is not parameter.empty:
            try:
                found[parameter.name] = TypeAdapter(parameter.annotation, config=_CONFIG)
            except (PydanticUserError, PydanticSchemaGenerationError):  # of a kind that pydantic can't check
                continue
    return found
