"""References: the run's own method with parts replaced, one YAML each in ``conf/reference``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.plugins import config_folders
from fused_clip.support.yaml_files import load_yaml

PREFIX = "reference/"  # of metrics, and of columns of predictions
UsesLabels = Literal["no", "yes", "as the run", "for the vote", "for the names"]


Replaced = dict[
    Literal["prompt", "text", "pairing", "fusion", "clusterer", "classifier", "vote", "clusters_per_target"],
    str | int,
]


class ReferenceOptions(BaseModel):
    """Content of a reference's YAML.

    Parameters
    ----------
    title : heading of a column or a chart.
    explanation : one line.
    uses_labels : whether the reference sees training labels, and what for.
    when : runs that have it: ``always``; ``grouped``, where targets are groups of classes; ``text``, where
        prompts are fused; ``no labels``, where prompts name the clusters.
    random : whether it is repeated ``references.draws`` times.
    replace : option that takes the place of the run's, by group (``prompt``, ``text``, ``pairing``,
        ``fusion``, ``clusterer``, ``classifier``), or value of ``vote`` or ``clusters_per_target``.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    title: str = Field(min_length=1)
    explanation: str = Field(min_length=1)
    uses_labels: UsesLabels
    when: Literal["always", "grouped", "text", "no labels"] = "always"
    random: bool = False
    replace: Replaced


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

    def labels(self, *, backbone_saw: bool) -> str:
        """Name the labels behind its accuracy: `uses_labels`, and the backbone's training.

        Parameters
        ----------
        backbone_saw : whether the backbone was trained on labels of the run's classes.
        """
        if not backbone_saw:
            return self.uses_labels
        own = "" if self.uses_labels == "no" else f"{self.uses_labels}; "
        return f"{own}backbone's training"

    @classmethod
    def of(cls, name: str, node: Mapping[str, Any]) -> "ReferenceFacts":
        """Take the facts from the content of a reference's YAML.

        Parameters
        ----------
        name : of the YAML.
        node : its content.
        """
        return cls(name, *(str(node[key]) for key in ("title", "explanation", "uses_labels")))


@dataclass(frozen=True)
class Reference:
    """A reference that can be evaluated.

    Parameters
    ----------
    facts : how it is named and explained.
    options : content of its YAML.
    parts : what it replaces, made: fields of `Method` by name, and ``prompts``, a `Prompts`.
    """

    facts: ReferenceFacts
    options: ReferenceOptions
    parts: Mapping[str, Any] = field(default_factory=dict)


def known_references(folders: Iterable[Path] = ()) -> dict[str, ReferenceFacts]:
    """Read the facts of every reference, by name.

    Parameters
    ----------
    folders : config folders of the user's, with ``reference/*.yaml`` below them.
    """
    return {name: ReferenceFacts.of(name, node) for name, node in read_references(folders).items()}


def read_references(folders: Iterable[Path] = ()) -> dict[str, dict[str, Any]]:
    """Read the YAML of every reference, by name: the package's, those of plugins, the user's.

    Parameters
    ----------
    folders : config folders of the user's, with ``reference/*.yaml`` below them; they go before the others.

    Raises
    ------
    InputError
        If a YAML can't be read or is no reference, or two plugins have one of a name.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in (
        path for folder in (*config_folders(), *folders) for path in sorted(folder.glob("reference/*.yaml"))
    ):
        try:
            found[path.stem] = load_yaml(read_regular(path, MOST_TEXT))
            ReferenceOptions.model_validate(found[path.stem])
        except (OSError, ValueError) as error:
            rule = f"{path} must be a reference ({str(error).splitlines()[0]})"
            raise InputError(f"reference.{path.stem}", rule) from error
    return found
