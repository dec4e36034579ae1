"""References: the run's own method with a part replaced, one YAML each in ``conf/reference``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused_clip.support.conf import conf_dir

PREFIX = "reference/"  # of metrics, and of columns of what a reference predicts


@dataclass(frozen=True)
class ReferenceFacts:
    """How a reference is named and explained wherever it is shown.

    Parameters
    ----------
    name : of its YAML, its metrics (``reference/<name>_accuracy``) and its column of predictions.
    title : heading of a column or a chart.
    explanation : one line.
    uses_labels : ``no``, ``yes``, ``as the run``, ``for the vote`` or ``for the names``.
    """

    name: str
    title: str
    explanation: str
    uses_labels: str

    @property
    def accuracy(self) -> str:
        """Name of its accuracy among the metrics."""
        return f"{PREFIX}{self.name}_accuracy"

    @classmethod
    def of(cls, name: str, node: Mapping[str, Any]) -> "ReferenceFacts":
        """Take the facts from the content of a reference's YAML.

        Parameters
        ----------
        name : of the YAML.
        node : its content.
        """
        return cls(name, *(str(node[key]) for key in ("title", "explanation", "uses_labels")))


def known_references(folders: Iterable[Path] = ()) -> dict[str, ReferenceFacts]:
    """Read the facts of every reference, by name, those of the package first.

    Parameters
    ----------
    folders : config folders of the user's, with ``reference/*.yaml`` below them.
    """
    import yaml

    files = [path for folder in (conf_dir(), *folders) for path in sorted(folder.glob("reference/*.yaml"))]
    return {
        path.stem: ReferenceFacts.of(path.stem, yaml.safe_load(path.read_text("utf-8"))) for path in files
    }
