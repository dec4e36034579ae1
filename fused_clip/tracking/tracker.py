"""What the entry points ask of a tracker, and the tracker that does nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from fused_clip.model.result import Result

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | float | bool | None


class ActiveRun(Protocol):
    """A run that is open."""

    @property
    def run_id(self) -> str:
        """Its id; empty if it is recorded nowhere."""

    def log(self, result: Result, directory: Path, pictures: Sequence[Path]) -> None:
        """Log what a run found.

        Parameters
        ----------
        result : its metrics, facts and names.
        directory : the run's directory, whose files become artifacts.
        pictures : figures as written; the same names in every run make runs comparable.
        """


class Tracker(Protocol):
    """Where runs are recorded."""

    @property
    def copies_files(self) -> bool:
        """Whether files of a run are kept a second time below the output directory."""

    def check(self) -> None:
        """See that runs can be recorded; raise `InputError` if not."""

    def close_abandoned(self) -> None:
        """Close the runs and sweeps that are still open although the process that opened them is gone."""

    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Open the parent of a sweep's runs; return its id.

        Parameters
        ----------
        plan : axes of every cell that is going to run; empty if that is not known.
        """

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Close a sweep's parent.

        Parameters
        ----------
        table : one row a cell; an ``error`` that is not empty marks a failed one, ``reused_from`` holds the
            id of the run that it was taken from.
        """

    def has_finished(self, run_id: str) -> bool:
        """Whether a run is recorded here as finished; without records nothing speaks against it."""

    def adopt(self, run_id: str, sweep_id: str) -> None:
        """Let a finished run be used again: in the comparison of another sweep too, if there is one."""

    def run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], parent_id: str | None = None
    ) -> AbstractContextManager[ActiveRun]:
        """Open a run for the length of a with block, below the parent if there is one.

        Parameters
        ----------
        params : the swept axes, which head the columns of the comparison.
        tags : facts that runs are filtered by.
        """

    def ui_command(self) -> str:
        """Tell how to open the comparison of runs; empty if there is none."""

    def compare_url(self, sweep_id: str) -> str:
        """Tell where the runs tagged with a ``sweep_id`` are side by side; empty if nowhere."""


@dataclass(frozen=True)
class _NoRun:
    run_id: str = ""

    def log(self, result: Result, directory: Path, pictures: Sequence[Path]) -> None:
        """Log nothing."""


class NoTracker:
    """Records nothing: the files of a run are all there is."""

    copies_files = False

    def check(self) -> None:
        """Nothing can be wrong."""

    def close_abandoned(self) -> None:
        """Nothing is open."""

    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Give an empty id."""
        return ""

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Log nothing."""

    def has_finished(self, run_id: str) -> bool:
        """No record is needed."""
        return True

    def adopt(self, run_id: str, sweep_id: str) -> None:
        """There is no comparison."""

    @contextmanager
    def run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], parent_id: str | None = None
    ) -> Iterator[ActiveRun]:
        """Give a run that logs nothing."""
        yield _NoRun()

    def ui_command(self) -> str:
        """There is nothing to open."""
        return ""

    def compare_url(self, sweep_id: str) -> str:
        """There is nothing to open."""
        return ""
