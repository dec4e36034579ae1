"""Outcomes of the jobs of a sweep: one record in the directory of each, and the progress of them all."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from fused_clip.method.reference import ReferenceFacts
from fused_clip.metrics.numbers import number
from fused_clip.support.checksums import sealed, unsealed
from fused_clip.support.conf import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import write_atomic
from fused_clip.support.json_files import parse_json_object
from fused_clip.support.machine import KEPT, explain
from fused_clip.support.timing import rough_duration

log = logging.getLogger(__name__)
_RECORD = "record.json"
_LOOKING = 20  # a twentieth of the time at most goes into looking at what other processes have done
CUT_OFF = "the job was cut off"


def record(
    directory: Path,
    overrides: Sequence[str],
    *,
    metrics: Mapping[str, float] | None = None,
    setting: Mapping[str, str] | None = None,
    references: Sequence[ReferenceFacts] = (),
    run_id: str = "",
    error: str = "",
    reused_from: Path | None = None,
) -> None:
    """Write the outcome of a job into its directory.

    Parameters
    ----------
    directory : of the job.
    overrides : that make the job.
    metrics : of the run.
    setting : head of a table of such runs: dataset, backbone, rows.
    references : titles and explanations of the run's references.
    run_id : of the job's run in the tracking store, or of the one that it was taken from.
    error : why the job failed; empty if it did not.
    reused_from : directory of the finished run that it was taken from.
    """
    content = {
        "axes": axes_of(overrides),
        "metrics": dict(metrics or {}),
        "setting": dict(setting or {}),
        "references": [asdict(facts) for facts in references],
        "error": error,
        "directory": str(directory),
        "run_id": run_id,
        "reused_from": str(reused_from or ""),
    }
    write_atomic(directory / _RECORD, (json.dumps(sealed(content), indent=2) + "\n").encode())


def run_recorded(run: Callable[[], float], directory: Path, overrides: Sequence[str]) -> float:
    """Run a job so that the others go on whatever happens: a failure is logged, recorded, and gives NaN.

    Parameters
    ----------
    run : gives the job's test accuracy, and records the job itself where it succeeds.
    directory : of the job.
    overrides : that make the job.
    """
    try:
        return run()
    except Exception as error:
        explained = explain(error, directory, KEPT)
        if explained:
            log.error("%s", explained)
        else:
            log.exception("The job failed")
        reason = str(explained or error) or repr(error)
    try:
        record(directory, overrides, error=reason)
    except InputError as unwritten:  # without a record the sweep takes the job for cut off
        log.error("%s", unwritten)
    return float("nan")


def read_records(sweep: Path, *, lost: bool = True) -> list[dict[str, Any]]:
    """Read the records of all jobs of a sweep, in job order.

    Parameters
    ----------
    sweep : directory of the sweep.
    lost : whether a job without a record counts, as one that was cut off.
    """
    folders = sorted((job for job in sweep.glob("*/") if job.name.isdigit()), key=lambda job: int(job.name))
    found = [(folder, read_record(folder)) for folder in folders]
    return [record or lost_record(folder, CUT_OFF) for folder, record in found if record or lost]


class _Record(TypedDict):
    axes: dict[str, str]
    metrics: dict[str, int | float]
    setting: dict[str, str]
    references: list[dict[str, Any]]
    error: str
    directory: str
    run_id: str
    reused_from: str


_RECORDS = TypeAdapter(_Record)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a job; None if it left none, one with an error if it is damaged.

    Parameters
    ----------
    folder : of the job.
    """
    path = folder / _RECORD
    if not path.is_file():
        return None
    try:
        content = unsealed(parse_json_object(path.read_bytes()))
        found = dict(_RECORDS.validate_python(content, strict=True))
        own = Path(str(found["directory"])).name == folder.name  # not that of another job
    except ValueError:
        own = False
    return found if own else lost_record(folder, f"its record is damaged: {path}")


def lost_record(folder: Path, error: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Make the record of a job that left none.

    Parameters
    ----------
    folder : of the job.
    error : why there is none.
    overrides : that make the job, if they are known.
    """
    unknown = {"metrics": {}, "setting": {}, "references": [], "run_id": "", "reused_from": ""}
    axes = axes_of(overrides) or {"job": folder.name}
    return {**unknown, "axes": axes, "error": error, "directory": str(folder)}


def table_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a record to a row of the sweep's table: axes, metrics, ``error``, ``run_id``, ``directory``.

    Parameters
    ----------
    record : as `read_records` gives it.
    """
    return {
        **record["axes"],
        **record["metrics"],
        "error": record["error"],
        "run_id": record["run_id"],
        "reused_from": record["run_id"] if record["reused_from"] else "",
        "directory": record["reused_from"] or record["directory"],
    }


class _Ended:
    """Jobs of a sweep that have a record, each read once."""

    def __init__(self) -> None:
        self._reused: dict[str, bool] = {}
        self._looked, self._took = -math.inf, 0.0

    def look(self, sweep: Path, job: Path) -> None:
        """Count a job of this process, and those of others unless that would take long."""
        self._note(job)
        start = time.monotonic()
        if start - self._looked < _LOOKING * self._took:
            return
        with os.scandir(sweep) as found:
            for entry in found:
                if entry.name.isdigit() and entry.name not in self._reused:
                    self._note(sweep / entry.name)
        self._looked = time.monotonic()
        self._took = self._looked - start

    def _note(self, job: Path) -> None:
        if job.name not in self._reused and (found := read_record(job)):
            self._reused[job.name] = bool(found["reused_from"])

    @property
    def jobs(self) -> int:
        return len(self._reused)

    @property
    def ran(self) -> int:
        """Those that were not taken from another sweep."""
        return sum(not reused for reused in self._reused.values())


@dataclass(frozen=True)
class Progress:
    """Progress of a sweep, known in every process that runs its jobs.

    Parameters
    ----------
    directory : of the sweep.
    started : seconds since the epoch.
    cells : in the sweep; 0 where that is unknown.
    finished : of these, how many were finished before.
    axes : keys that differ between cells; empty where that is unknown.
    """

    directory: Path
    started: float
    cells: int = 0
    finished: int = 0
    axes: tuple[str, ...] = ()
    _ended: _Ended = field(default_factory=_Ended, init=False, repr=False, compare=False)

    def line(self, directory: Path) -> str:
        """Give the outcome of a cell and the time left, in a line.

        Parameters
        ----------
        directory : of the cell, which has ended.
        """
        self._ended.look(self.directory, directory)
        of = f" of {self.cells}" if self.cells else ""
        job = read_record(directory)
        if job is None:
            return f"a cell{of} left no record{self._left()}"
        return f"cell {self._ended.jobs}{of}: {outcome_of(job, self.axes)}{self._left()}"

    def _left(self) -> str:
        jobs, ran = self._ended.jobs, self._ended.ran
        remaining = min(self.cells - jobs, self.cells - self.finished - ran)
        if remaining <= 0 or not ran:
            return ""
        return f"; about {rough_duration(max(0.0, time.time() - self.started) / ran * remaining)} left"


def outcome_of(record: Mapping[str, Any], axes: Sequence[str] = ()) -> str:
    """Describe a job and how it ended, in a few words.

    Parameters
    ----------
    record : of the job.
    axes : keys that name it; all of its own by default.
    """
    own = record["axes"]
    named = " ".join(f"{axis}={own[axis]}" for axis in axes or own if axis in own)
    return ", ".join(filter(None, [named, _outcome(record)]))


def _outcome(record: Mapping[str, Any]) -> str:
    if record["error"]:
        return "failed"
    accuracy = record["metrics"].get("test/accuracy")
    text = "done" if accuracy is None else f"accuracy {number(accuracy)}"
    return f"{text} (finished already)" if record["reused_from"] else text
