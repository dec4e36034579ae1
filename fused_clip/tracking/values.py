"""Keys and values in the form and the size that mlflow takes, under names that its charts sort well."""

import re
from collections.abc import Iterable, Mapping
from posixpath import normpath

_LONGEST_VALUE, _LONGEST_KEY = 5_000, 250  # mlflow/utils/validation.py
# MLflow (3.17) sorts the sections of its charts by name and offers no other order; a section is what stands
# before the last slash. So: test and its references, train and its, recalls (a chart a target), timings.
_SECTIONS = (
    ("words_in_fusion", "test vs/words_in_fusion"),
    ("text_in_all", "test vs/text_in_all"),
    *((name, f"train/{name}") for name in ("missing_targets", "n_clusters", "n_noise")),
    ("images_per_second", "wall seconds/images_per_second"),
    ("reference/", "test vs/"),
    ("test/recall/", "truth recall/"),
    ("seconds/", "wall seconds/"),
)
_TRAIN_REFERENCE = re.compile(r"reference/(?=.*_(ari|purity)$)")


def chart_name(metric: str) -> str:
    """Name in MLflow of a metric of `Result.metrics`.

    Parameters
    ----------
    metric : such as ``seconds/total``, which is ``wall seconds/total`` in MLflow.
    """
    return _renamed(_TRAIN_REFERENCE.sub("train vs/", metric), _SECTIONS)


def metric_name(chart: str) -> str:
    """Name in `Result.metrics` of a metric in MLflow: the opposite of `chart_name`.

    Parameters
    ----------
    chart : as MLflow has it.
    """
    return _renamed(chart, [*((section, name) for name, section in _SECTIONS), ("train vs/", "reference/")])


def _renamed(name: str, prefixes: Iterable[tuple[str, str]]) -> str:
    """`name` with the first of the prefixes that it has replaced by its partner."""
    return next((new + name.removeprefix(old) for old, new in prefixes if name.startswith(old)), name)


def image_name(figure: str) -> str:
    """Key of a figure in MLflow's image grid, in the section of its split, below the metrics.

    Parameters
    ----------
    figure : such as ``tsne_train_cluster``, which is ``train/tsne_cluster`` in MLflow.
    """
    if figure.startswith("tsne_train_"):
        return "train/tsne_" + figure.removeprefix("tsne_train_")
    if figure in ("tsne", "confusion") or figure.startswith("tsne_test_"):
        return "test/" + figure.replace("tsne_test_", "tsne_")
    return f"train/{figure}"


def mlflow_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as mlflow takes them; those without a value are left out.

    Parameters
    ----------
    tags : any keys and values.
    """
    return {mlflow_key(key): cut(value) for key, value in tags.items() if value}


def cut(value: str) -> str:
    """Shorten a value to mlflow's limit.

    Parameters
    ----------
    value : of a tag or param.
    """
    return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"


def mlflow_key(name: str) -> str:
    """Write a name in the characters and the form that mlflow takes for keys.

    Parameters
    ----------
    name : of a tag, param or metric.
    """
    plain = normpath(re.sub(r"[^\w./: -]", "_", name)).lstrip("./")
    return plain[:_LONGEST_KEY] or "_"
