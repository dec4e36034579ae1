"""What became of each job of a sweep: one record in its directory."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fused_clip.support.axes import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import write_atomic

log = logging.getLogger(__name__)
_RECORD = "record.json"


def record(
    directory: Path,
    overrides: Sequence[str],
    *,
    metrics: Mapping[str, float] | None = None,
    setting: Mapping[str, str] | None = None,
    run_id: str = "",
    error: str = "",
    reused_from: Path | None = None,
) -> None:
    """Leave in a job's directory what became of it.

    Parameters
    ----------
    directory : of the job.
    overrides : that make the job.
    metrics : of the run.
    setting : what heads a table of such runs: dataset, backbone, rows.
    run_id : of the job's run in the tracking store, or of the one that it was taken from.
    error : why the job failed; empty if it did not.
    reused_from : directory of the finished run that it was taken from.

    Raises
    ------
    InputError
        If it can't be written.
    """
    content = {
        "axes": axes_of(overrides),
        "metrics": dict(metrics or {}),
        "setting": dict(setting or {}),
        "error": error,
        "directory": str(directory),
        "run_id": run_id,
        "reused_from": str(reused_from or ""),
    }
    write_atomic(directory / _RECORD, (json.dumps(content, indent=2) + "\n").encode())


def run_recorded(run: Callable[[], float], directory: Path, overrides: Sequence[str]) -> float:
    """Run a job so that the others go on whatever happens: a failure is logged and recorded.

    Parameters
    ----------
    run : gives the job's test accuracy, and records the job itself where it succeeds.
    directory : of the job.
    overrides : that make the job.

    Returns
    -------
    Test accuracy, in [0, 1]; NaN if the job failed.
    """
    try:
        return run()
    except Exception as error:
        if isinstance(error, InputError):
            log.error("%s", error)
        else:
            log.exception("The job failed")
        reason = str(error) or repr(error)
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
    found = [(folder, _read(folder)) for folder in folders]
    return [record or _cut_off(folder) for folder, record in found if record or lost]


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / _RECORD
    return json.loads(path.read_text()) if path.is_file() else None


def _cut_off(folder: Path) -> dict[str, Any]:
    unknown = {"metrics": {}, "setting": {}, "run_id": "", "reused_from": ""}
    axes = {"job": folder.name}
    return {**unknown, "axes": axes, "error": "the job was cut off", "directory": str(folder)}


def table_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One record as a row of the sweep's table: axes, metrics, ``error``, ``run_id``, ``directory``.

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
