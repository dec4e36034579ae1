"""A sweep as a whole: one parent run, one record a job, one table at the end."""

import json
import logging
import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from fused_clip.runner.jobs import axes_of, planned_cells
from fused_clip.support.errors import InputError
from fused_clip.support.files import check_writable, disk_full_errors, write_atomic

log = logging.getLogger(__name__)
PARENT_VARIABLE = "FUSED_CLIP_PARENT_RUN"
SWEEP_VARIABLE = "FUSED_CLIP_SWEEP_ID"
_RECORD = "record.json"
_open: dict[str, Any] = {}


def record(
    directory: Path,
    overrides: Sequence[str],
    *,
    metrics: dict[str, float] | None = None,
    run_id: str = "",
    error: str = "",
    reused_from: Path | None = None,
) -> None:
    """Leave in a job's directory what became of it.

    Parameters
    ----------
    run_id : of the job's run in the tracking store, or of the one that it was taken from.
    reused_from : directory of the finished run that it was taken from.
    """
    content = {
        "axes": axes_of(overrides),
        "metrics": metrics or {},
        "error": error,
        "directory": str(directory),
        "run_id": run_id,
        "reused_from": str(reused_from or ""),
    }
    write_atomic(directory / _RECORD, (json.dumps(content, indent=2) + "\n").encode())


class SweepCallback(Callback):
    """Opens the parent run before the jobs; afterwards closes it and prints the table of all jobs."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See that a single run can write, before Hydra does."""
        HydraConfig.instance().set_config(config)
        _check_places(config.output_dir, config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the parent run and hand its id to the jobs by the environment."""
        sweep_id = uuid.uuid4().hex[:12]
        os.environ[SWEEP_VARIABLE] = sweep_id
        HydraConfig.instance().set_config(config)
        _check_places(config.output_dir, config.hydra.sweep.dir)
        try:
            _open.update(_open_parent(config, sweep_id))
        except InputError as error:
            sys.exit(f"Error: {error}")
        except Exception:
            # Hydra would turn it into a warning and run the jobs without their parent.
            log.exception("The sweep's parent run can't be opened")
            sys.exit(1)
        os.environ[PARENT_VARIABLE] = _open["parent"]

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close the parent run; exit with 1 if a job failed or left no record."""
        if _end(failed=False):
            sys.exit(1)


def end_if_full() -> None:
    """End a sweep that has no room for what Hydra writes before the next job; exit with 1."""
    if "tracker" not in _open:  # a process that runs jobs for the sweep's own
        return
    try:
        check_writable(_open["directory"])
    except InputError as error:
        _end(failed=True)
        sys.exit(f"Error: {error}")


def _end(*, failed: bool) -> bool:
    """Close the parent run and print the table of all jobs; tell whether something failed."""
    from fused_clip.runner.console import print_sweep

    directory = _open["directory"]
    rows = _records(directory)
    failed |= any(row["error"] for row in rows)
    try:
        with disk_full_errors(directory):
            _close("FAILED" if failed else "FINISHED", rows)
    except Exception as error:
        # Hydra would turn it into a warning and end well.
        log.error("The sweep's run can't be closed: %s", error)
        failed = True
    print_sweep(rows, directory, _open.pop("ui_command"), _open.pop("compare_url"))
    return failed


def abandon() -> None:
    """Close the parent run of a sweep that was cut off, so that it is not left running."""
    if "tracker" in _open:
        _close("KILLED", _records(_open["directory"]))


def _check_places(*folders: str) -> None:
    try:
        for folder in folders:
            check_writable(Path(folder).absolute())
    except InputError as error:
        sys.exit(f"Error: {error}")


def _open_parent(config: DictConfig, sweep_id: str) -> dict[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from fused_clip.runner.cell import make_tracker
    from fused_clip.runner.console import print_forecast
    from fused_clip.runner.forecast import forecast

    parser = OverridesParser.create()
    overrides = parser.parse_overrides(list(config.hydra.overrides.task))
    swept = [o.key_or_group for o in overrides if o.is_sweep_override()]
    swept += list(config.hydra.sweeper.get("params") or {})
    tracker = make_tracker(config)
    tracker.close_abandoned()
    output_dir = Path(config.output_dir).absolute()
    if expected := forecast(config, tracker, output_dir):
        print_forecast(expected, output_dir)
        expected.check(output_dir)
    study = str(config.study)
    tags = {"study": study, "sweep_id": sweep_id, "swept": ", ".join(swept)}
    parent = tracker.start_sweep(f"sweep-{study}-{sweep_id[:4]}", tags, planned_cells(config))
    directory = Path(config.hydra.sweep.dir).absolute()
    return {
        "tracker": tracker,
        "parent": parent,
        "directory": directory,
        "ui_command": tracker.ui_command(),
        "compare_url": tracker.compare_url(sweep_id),
    }


def _close(status: str, rows: list[dict[str, Any]]) -> None:
    tracker = _open.pop("tracker")
    table = [
        {
            **row["axes"],
            **row["metrics"],
            "error": row["error"],
            "run_id": row["run_id"],
            "reused_from": row["run_id"] if row["reused_from"] else "",
            "directory": row["reused_from"] or row["directory"],
        }
        for row in rows
    ]
    tracker.end_sweep(_open.pop("parent"), table, status)


def _records(directory: Path) -> list[dict[str, Any]]:
    """The records of all jobs in job order; a job that left none has failed."""
    jobs = sorted((job for job in directory.glob("*/") if job.name.isdigit()), key=lambda job: int(job.name))
    lost = {"metrics": {}, "error": "the job was cut off", "run_id": "", "reused_from": ""}
    return [
        json.loads((job / _RECORD).read_text())
        if (job / _RECORD).is_file()
        else {**lost, "axes": {"job": job.name}, "directory": str(job)}
        for job in jobs
    ]
