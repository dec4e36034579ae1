"""A sweep as a whole: its plan, one parent run, one table at the end."""

import logging
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fused_clip.runner.jobs import planned_jobs, swept_keys, varying_axes
from fused_clip.runner.outcomes import read_records, table_row
from fused_clip.runner.progress import Progress
from fused_clip.support.axes import axes_of
from fused_clip.support.files import check_writable, disk_full_errors

if TYPE_CHECKING:
    from fused_clip.tracking import Tracker
    from fused_clip.tracking.tracker import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """A sweep that is open, in the process that started it.

    Parameters
    ----------
    tracker : where its runs are recorded.
    parent : id of its parent run.
    sweep_id : tag of its runs.
    progress : its directory and what is known of its cells.
    """

    tracker: "Tracker"
    parent: str
    sweep_id: str
    progress: Progress

    @classmethod
    def open(cls, config: DictConfig) -> "Sweep":
        """Print what the sweep is going to do, and open its parent run.

        Parameters
        ----------
        config : of the sweep, with its ``hydra`` node; Hydra must be running.

        Raises
        ------
        InputError
            If runs can't be recorded, the disk is too small, or no cell can run.
        """
        from fused_clip.runner.build import make_tracker
        from fused_clip.runner.console import print_forecast
        from fused_clip.runner.forecast import forecast

        output_dir = Path(config.output_dir).absolute()
        node = OmegaConf.to_container(config.tracking, resolve=True)
        tracker = make_tracker(node, output_dir)  # type: ignore[arg-type]
        tracker.close_abandoned()
        jobs = planned_jobs(config)
        expected = forecast(config, jobs, tracker, output_dir)
        if jobs:
            print_forecast(expected, output_dir)
            expected.check(output_dir)
            for level, note in expected.notes:
                log.log(level, "%s", note)
        cells = [axes_of(job) for job in jobs]
        sweep_id, study = uuid.uuid4().hex[:12], str(config.study)
        tags = {"study": study, "sweep_id": sweep_id, "swept": ", ".join(swept_keys(config))}
        parent = tracker.start_sweep(f"sweep-{study}-{sweep_id[:4]}", tags, cells)
        directory = Path(config.hydra.sweep.dir).absolute()
        axes = tuple(varying_axes(cells))
        progress = Progress(directory, time.time(), len(jobs), expected.finished, axes)
        return cls(tracker, parent, sweep_id, progress)

    def overrides(self) -> list[str]:
        """Overrides of Hydra's own config by which each job knows its sweep."""
        known = {"parent": self.parent, "sweep_id": self.sweep_id, "cells": self.progress.cells}
        return [f"++hydra.callbacks.sweep.{key}={value!r}" for key, value in known.items()]

    def check_room(self) -> None:
        """Check that the next job can write.

        Raises
        ------
        InputError
            If it can't.
        """
        check_writable(self.progress.directory)

    def end(self, *, failed: bool = False) -> bool:
        """Close the parent run and print the table of all jobs.

        Parameters
        ----------
        failed : whether something failed besides the jobs.

        Returns
        -------
        Whether anything failed.
        """
        from fused_clip.runner.console import print_sweep

        directory = self.progress.directory
        records = read_records(directory)
        failed |= any(record["error"] for record in records)
        try:
            with disk_full_errors(directory):
                self._close("FAILED" if failed else "FINISHED", records)
        except Exception as error:
            # Hydra would turn it into a warning and end well.
            log.error("The sweep's run can't be closed: %s", error)
            failed = True
        print_sweep(records, directory, self.tracker.ui_command(), self.tracker.compare_url(self.sweep_id))
        return failed

    def abandon(self) -> None:
        """Close the runs of a sweep that was cut off, so that none is left running."""
        self._close("KILLED", read_records(self.progress.directory))
        self.tracker.close_abandoned()

    def _close(self, status: "Status", records: list[dict[str, Any]]) -> None:
        self.tracker.end_sweep(self.parent, [table_row(record) for record in records], status)
