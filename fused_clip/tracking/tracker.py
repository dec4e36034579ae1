"""The protocol of trackers, and the tracker that records nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from fused_clip.method.reference import ReferenceFacts
from fused_clip.model.result import Result

Status = Literal["FINISHED", "FAILED", "KILLED"]
Scalar = str | float | bool | None


class ActiveRun(Protocol):
    """A run that is open."""

    @property
    def run_id(self) -> str:
        """Its id; empty if it is recorded nowhere."""

    def log(
        self,
        result: Result,
        directory: Path,
        pictures: Sequence[Path],
        references: Sequence[ReferenceFacts] = (),
    ) -> None:
        """Log the results of a run.

        Parameters
        ----------
        result : its metrics, facts and names.
        directory : the run's directory, whose files become artifacts.
        pictures : figures as written; the same names in every run make runs comparable.
        references : titles and explanations of those in use.
        """


class Tracker(Protocol):
    """Where runs are recorded."""

    @property
    def copies_files(self) -> bool:
        """Whether files of a run are kept a second time below the output directory."""

    def check(self) -> None:
        """Check that runs can be recorded; raise `InputError` if not."""

    def wait(self) -> None:
        """Wait for a store that does not answer, as where it is started again during a sweep.

        A job calls it; a command that starts calls `check`, which does not wait.
        """

    def close_abandoned(self) -> None:
        """Close the runs and sweeps that are still open although the process that opened them is gone."""

    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Open the parent of a sweep's runs; return its id.

        Parameters
        ----------
        name : of the sweep.
        tags : facts that runs are filtered by.
        plan : axes of every cell that is going to run; empty if that is not known.
        """

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Close a sweep's parent.

        Parameters
        ----------
        parent_id : its id.
        table : one row a cell; a failed one has an ``error``, a reused one the run's id in ``reused_from``.
        status : how the sweep ended.
        """

    def hand_over(self, run_id: str, owner: str) -> None:
        """Open a run again if it is closed, and name who ends it, in place of this process.

        Parameters
        ----------
        run_id : of the run.
        owner : such as the job of an engine; no process on any machine.
        """

    def close_left(self, sweep_id: str, parent_id: str) -> int:
        """Close the runs of a sweep that are still open, though no process runs them; count them.

        Parameters
        ----------
        sweep_id : tag of the runs.
        parent_id : of the sweep's parent, which stays as it is.
        """

    def has_finished(self, run_id: str) -> bool:
        """Whether a run is recorded here as finished; always true without records.

        Parameters
        ----------
        run_id : of the run.
        """

    def adopt(self, run_id: str, sweep_id: str) -> None:
        """Add a finished run to the comparison of another sweep.

        Parameters
        ----------
        run_id : of the run.
        sweep_id : of the sweep; empty for none.
        """

    def run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], parent_id: str | None = None
    ) -> AbstractContextManager[ActiveRun]:
        """Open a run for the length of a with block, below the parent if there is one.

        Parameters
        ----------
        name : of the run.
        params : the swept axes, which head the columns of the comparison.
        tags : facts that runs are filtered by.
        parent_id : of the sweep that the run belongs to.
        """

    def ui_command(self) -> str:
        """Shell line that opens the comparison of runs, or address of a server; empty if there is none."""

    def compare_url(self, sweep_id: str) -> str:
        """Address of the comparison of a sweep's runs; empty if there is none.

        Parameters
        ----------
        sweep_id : tag of the runs.
        """


@dataclass(frozen=True)
class _NoRun:
    run_id: str = ""

    def log(
        self,
        result: Result,
        directory: Path,
        pictures: Sequence[Path],
        references: Sequence[ReferenceFacts] = (),
    ) -> None:
        """Log nothing."""


class NoTracker:
    """Records nothing; a run leaves its files alone."""

    copies_files = False

    def check(self) -> None:
        """Nothing can be wrong."""

    def wait(self) -> None:
        """Nothing is away."""

    def close_abandoned(self) -> None:
        """Nothing is open."""

    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Give an empty id."""
        return ""

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Log nothing."""

    def hand_over(self, run_id: str, owner: str) -> None:
        """No run is open."""

    def close_left(self, sweep_id: str, parent_id: str) -> int:
        """No run is open."""
        return 0

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
