"""Clusterers that wrap another: their parameters, and the clusterer inside."""

from collections.abc import Mapping
from typing import Any

from sklearn.base import clone

from fused_clip.support.arrays import IntArray

_BY_ROW = ("images", "prompt_index", "votes")


def configured(clusterer: Any, wanted: Mapping[str, Any]) -> Any:
    """Return a clone with those parameters set that it has, and those of its `base` where it wraps one.

    Parameters
    ----------
    clusterer : scikit-learn clusterer.
    wanted : value of each parameter by name.
    """
    values = {}
    for name in clusterer.get_params():
        prefix, _, own = name.rpartition("__")
        if own in wanted and set(prefix.split("__")) <= {"", "base"}:
            values[name] = wanted[own]
    return clone(clusterer).set_params(**values)


def on_rows(clusterer: Any, rows: IntArray, wanted: Mapping[str, Any]) -> Any:
    """Return a clone for some of the rows: parameters with a value for each row keep those.

    Parameters
    ----------
    clusterer : scikit-learn clusterer, configured for all rows; not a wrapper.
    rows : (m,) rows that are kept.
    wanted : other parameters, as `configured` takes them.
    """
    params = clusterer.get_params(deep=False)
    kept = {name: params[name][rows] for name in _BY_ROW if params.get(name) is not None}
    return configured(clusterer, {**wanted, **kept})


def innermost(clusterer: Any) -> Any:
    """Return the clusterer that finds the clusters: the `base` of a wrapper, else the clusterer itself.

    Parameters
    ----------
    clusterer : scikit-learn clusterer.
    """
    while hasattr(clusterer, "base"):
        clusterer = clusterer.base
    return clusterer


def has_number(clusterer: Any) -> bool:
    """Whether a clusterer is given its number of clusters.

    Parameters
    ----------
    clusterer : scikit-learn clusterer.
    """
    return not {"n_clusters", "n_components"}.isdisjoint(innermost(clusterer).get_params(deep=False))
