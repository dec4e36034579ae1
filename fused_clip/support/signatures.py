"""Keyword arguments of functions."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def accepted(function: Callable[..., Any], available: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the arguments that a function's signature names.

    Parameters
    ----------
    function : function, class or partial.
    available : argument name -> value.
    """
    names = keywords(function)
    return {name: value for name, value in available.items() if name in names}


def keywords(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters of a function, without ``*args`` and ``**kwargs``.

    Parameters
    ----------
    function : function, class or partial.
    """
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]


def takes_any_keyword(function: Callable[..., Any]) -> bool:
    """Whether a function has ``**kwargs``.

    Parameters
    ----------
    function : function, class or partial.
    """
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
