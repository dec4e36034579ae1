"""Results that are computed once: the same arrays, estimator and code give the stored result."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator

from fused_clip.support.arrays import Array
from fused_clip.support.versions import code_version, versions

_DECIDING = ("scikit-learn", "scipy", "faiss-cpu", "numpy", "torch")
_CODE = ("method", "metrics", "support")  # packages whose code decides a result
_KNOWN = ("fused_clip", "sklearn")  # packages whose code these versions identify


class Cache(Protocol):
    """The part of `fused_clip.store.Store` that keeps derived arrays."""

    def cached(
        self, kind: str, key: Mapping[str, str], compute: Callable[[], Mapping[str, Array]]
    ) -> dict[str, Array]:
        """Return the arrays stored under a key, computing them first if they are not there.

        Parameters
        ----------
        kind : start of the name of the entry.
        key : all that determines the arrays.
        compute : returns the arrays by name.
        """


class StoreMemory:
    """`joblib.Memory`'s interface on the embedding store, for functions ``(estimator, ...) -> array``.

    The key is made of the arguments, the code of the method and the versions of its libraries. An estimator
    without a fixed seed, with parameters that are neither JSON nor arrays, or from another package than this
    one and scikit-learn is computed every time.

    Parameters
    ----------
    store : keeps the arrays.
    """

    def __init__(self, store: Cache) -> None:
        self.store = store

    def cache(self, func: Callable[..., Array]) -> Callable[..., Array]:
        """Return `func` with its results stored.

        Parameters
        ----------
        func : takes estimators, arrays and plain values by position; its name is the kind of the entry.
        """

        def cached(*arguments: Any) -> Array:
            described = [_description(argument) for argument in arguments]
            if None in described:
                return func(*arguments)
            key = {
                "arguments": json.dumps(described),
                "code": code_version(_CODE),
                "versions": json.dumps(versions(_DECIDING)),
            }
            kind = func.__name__.strip("_")
            return self.store.cached(kind, key, lambda: {"result": np.asarray(func(*arguments))})["result"]

        return cached


def _description(argument: Any) -> str | None:
    """Text that identifies an argument; None if it can't be identified."""
    if isinstance(argument, np.ndarray):
        return _array(argument)
    if not isinstance(argument, BaseEstimator):
        return json.dumps(argument)
    params = argument.get_params()
    seeds = [value for name, value in params.items() if name.rpartition("__")[2] == "random_state"]
    if not all(isinstance(seed, int) for seed in seeds):
        return None
    kinds = [type(argument), *(type(value) for value in params.values() if isinstance(value, BaseEstimator))]
    if any(kind.__module__.partition(".")[0] not in _KNOWN for kind in kinds):
        return None
    try:
        return f"{_name(type(argument))} {json.dumps(params, sort_keys=True, default=_value)}"
    except TypeError:  # a function
        return None


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _value(value: Any) -> str:
    # The parameters of an estimator inside another are among those of the outer one.
    return _name(type(value)) if isinstance(value, BaseEstimator) else _array(value)


def _array(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        raise TypeError
    digest = hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
    return f"{digest} {value.shape} {value.dtype}"
