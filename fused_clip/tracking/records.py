"""The record of a run that has ended, independent of the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fused_clip.support.errors import InputError
from fused_clip.support.yaml_files import load_yaml

if TYPE_CHECKING:
    from pandas import DataFrame

RunStatus = Literal["FINISHED", "FAILED", "KILLED", "RUNNING", "MISSING"]


class Artifacts(Protocol):
    """The files of a run, fetched when they are asked for."""

    def fetch(self, name: str) -> Path | None:
        """Local path of a file or folder; None if there is none.

        Parameters
        ----------
        name : such as ``config.yaml`` or ``figures``.
        """


class NoArtifacts:
    """A run that left no file."""

    def fetch(self, name: str) -> Path | None:
        """There is none."""
        return None


@dataclass(frozen=True)
class RunRecord:
    """One cell of a study or sweep: a run, or the place of one that is missing.

    Parameters
    ----------
    run_id : id in the tracking store; empty where there is no run.
    parent_id : id of the sweep's parent run; empty for a single run.
    name : such as ``cifar10-grouped-spectral-s0``.
    status : ``MISSING`` for a cell that was planned and has no run.
    axes : overrides of this cell as its sweep gave them, e.g. ``{"dataset": "mnist", "seed": "0"}``.
    params, metrics, tags : as logged.
    seconds : from start to end; NaN if it has not ended.
    reused : whether the sweep took a finished run of another one.
    error : of a failed run, in a line; empty for a finished run.
    artifacts : its files.
    """

    run_id: str
    parent_id: str
    name: str
    status: RunStatus
    axes: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = float("nan")
    reused: bool = False
    error: str = ""
    artifacts: Artifacts = field(default_factory=NoArtifacts, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether its numbers can be used."""
        return self.status == "FINISHED"

    @property
    def study(self) -> str:
        """Name of the study."""
        return self.tags.get("study", "")

    @property
    def commit(self) -> str:
        """Commit of the code, with ``+`` for local changes; empty if unknown."""
        return self.tags.get("commit", "")

    @property
    def data_fingerprint(self) -> str:
        """Fingerprint of the images and labels; empty if unknown."""
        return self.tags.get("data_fingerprint", "")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Resolved config; empty where the run left none.

        Raises
        ------
        InputError
            If it can't be read. It is data: no tag, no interpolation and no ``_target_`` in it is followed.
        """
        path = self.artifacts.fetch("config.yaml")
        return read_config(path) if path else {}

    @cached_property
    def figures(self) -> Mapping[str, Path]:
        """PNG file of each figure by name, e.g. ``tsne``."""
        folder = self.artifacts.fetch("figures")
        if folder is None:
            return {}
        own = folder.resolve()  # a link out of it would bring another's picture into a report
        return {path.stem: path for path in sorted(folder.glob("*.png")) if path.resolve().parent == own}

    def predictions(self) -> "DataFrame | None":
        """Rows of ``predictions.parquet``: row_id, split, target, cluster, predicted, distance, margin."""
        import pandas as pd

        path = self.artifacts.fetch("predictions.parquet")
        return pd.read_parquet(path) if path else None

    def option(self, name: str) -> str:
        """Value of an option or chosen group as text, e.g. of ``fusion.alpha`` or ``dataset``; else empty.

        The run's params come first, then its axes, then its config.

        Parameters
        ----------
        name : of the option or group.
        """
        for known in (self.params, self.axes):
            if name in known:
                return known[name]
        value: Any = self.config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return "" if value is None or isinstance(value, Mapping) else _text(value)


def read_config(path: Path) -> dict[str, Any]:
    """Read the resolved config that a run left, as data.

    Parameters
    ----------
    path : of a ``config.yaml``.

    Raises
    ------
    InputError
        If it is no YAML of plain values.
    """
    try:
        node = load_yaml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("config.yaml", f"can't be read ({error})", str(path)) from error
    if not isinstance(node, dict):
        raise InputError("config.yaml", "must be a mapping of options", str(path))
    return node


def _text(value: object) -> str:
    """A value of a config as its command line writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
