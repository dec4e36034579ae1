"""Partitions that are computed once: the same rows and clusterer give the stored clusters."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from fused_clip.runner.reuse import METHOD_VERSION
from fused_clip.support.arrays import Array, IntArray, Rows

_DECIDING = ("fused_clip", "scikit-learn", "scipy", "faiss-cpu", "numpy")
_KNOWN = ("fused_clip", "sklearn")  # packages whose code these versions tell


class Cache(Protocol):
    """What `fused_clip.store.Store` offers for derived arrays."""

    def cached(
        self, kind: str, key: Mapping[str, str], compute: Callable[[], Mapping[str, Array]]
    ) -> dict[str, Array]:
        """Return the arrays stored under a key, computing them first if they are not there."""


class PartitionMemory:
    """`joblib.Memory`'s interface on the embedding store, for functions ``(clusterer, rows) -> labels``.

    The key holds the rows' bytes, the clusterer's class and parameters, and the versions of the method's
    code and of the libraries that decide the outcome. A clusterer without a fixed seed, with parameters that
    JSON does not hold, or of other code than this package's and scikit-learn's is never looked up.
    """

    def __init__(self, store: Cache) -> None:
        self.store = store

    def cache(self, func: Callable[[Any, Rows], IntArray]) -> Callable[[Any, Rows], IntArray]:
        """Return `func`, looked up in the store before it is computed."""

        def cached(clusterer: Any, rows: Rows) -> IntArray:
            params = _told(clusterer)
            if params is None:
                return func(clusterer, rows)
            key = {
                "clusterer": f"{type(clusterer).__module__}.{type(clusterer).__qualname__}",
                "params": params,
                "rows": hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest(),
                "shape": f"{rows.shape} {rows.dtype}",
                "method": str(METHOD_VERSION),
                "versions": json.dumps({name: importlib.metadata.version(name) for name in _DECIDING}),
            }
            arrays = self.store.cached(
                "partition", key, lambda: {"labels": np.asarray(func(clusterer, rows))}
            )
            return arrays["labels"]

        return cached


def _told(clusterer: Any) -> str | None:
    """Parameters as JSON; None if these, the class and the versions don't determine the clusters."""
    params = clusterer.get_params()
    if type(clusterer).__module__.partition(".")[0] not in _KNOWN:
        return None
    if "random_state" in params and not isinstance(params["random_state"], int):
        return None
    try:
        return json.dumps(params, sort_keys=True)
    except TypeError:  # an array, a function, another estimator
        return None
