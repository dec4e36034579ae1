"""A sweep as a whole: its plan, one parent run, one table at the end, and Hydra's calls to it."""

import atexit
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from fused_clip.runner.compositions import share_compositions
from fused_clip.runner.in_process import make_importable
from fused_clip.runner.jobs import planned_jobs, swept_keys, varying_axes
from fused_clip.runner.outcomes import Progress, read_records, table_row
from fused_clip.runner.shares import SharedSweep, cell_records, is_shared
from fused_clip.runner.shares_launcher import shares_launcher
from fused_clip.runner.submitted import is_submitted, owner, print_next_steps
from fused_clip.runner.targets import allowed, check_allowed
from fused_clip.support.conf import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import check_writable
from fused_clip.support.machine import KEPT, explain
from fused_clip.support.passwords import check_secret

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

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
    progress : its directory and the counts of its cells.
    """

    tracker: "Tracker"
    parent: str
    sweep_id: str
    progress: Progress

    @classmethod
    def open(cls, config: DictConfig) -> "Sweep":
        """Print the plan of a sweep, and open its parent run.

        Parameters
        ----------
        config : of the sweep, with its ``hydra`` node; Hydra must be running.

        Raises
        ------
        InputError
            If runs can't be recorded, the disk is too small, or no cell can run.
        """
        from fused_clip.runner.console import print_forecast
        from fused_clip.runner.forecast import forecast

        output_dir = Path(config.output_dir).absolute()
        check_allowed(allowed(config), config.hydra.overrides.task)
        engine = shares_launcher(config)  # before Hydra makes it, which hides the error
        jobs = planned_jobs(config)
        if engine:
            engine.check_sweep(config, len(jobs))
        tracker = _tracker(config, output_dir)
        tracker.close_abandoned()
        expected = forecast(config, jobs, tracker, output_dir, elsewhere=engine is not None)
        if jobs:
            print_forecast(expected, output_dir)
            expected.check(output_dir, _at_once(config))
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

    @classmethod
    def reopen(cls, config: DictConfig, shared: SharedSweep) -> "Sweep":
        """Take up a sweep that another process opened.

        Parameters
        ----------
        config : of the sweep, as `SharedSweep.composed` gives it.
        shared : the sweep, as its directory describes it.
        """
        tracker = _tracker(config, Path(config.output_dir).absolute())
        progress = Progress(Path(config.hydra.sweep.dir), shared.started, len(shared.cells))
        return cls(tracker, shared.parent, shared.sweep_id, progress)

    def overrides(self) -> list[str]:
        """Overrides of Hydra's own config by which each job knows its sweep."""
        known = {"parent": self.parent, "sweep_id": self.sweep_id, "cells": self.progress.cells}
        return [f"++hydra.callbacks.sweep.{key}={value!r}" for key, value in known.items()]

    def check_room(self) -> None:
        """Check that the next job can write."""
        check_writable(self.progress.directory)

    def end(self, *, failed: bool = False, closed: bool = False) -> bool:
        """Close the parent run and print the table of all jobs; give whether anything failed.

        Parameters
        ----------
        failed : whether something other than a job failed.
        closed : whether the parent run was closed before.
        """
        from fused_clip.runner.console import print_sweep

        directory = self.progress.directory
        records = self._records()
        failed |= any(record["error"] for record in records)
        try:
            if not closed:
                self._close("FAILED" if failed else "FINISHED", records)
        except Exception as error:  # the table of what is finished is printed all the same
            log.error("The sweep's run can't be closed: %s", explain(error, directory) or repr(error))
            failed = True
        print_sweep(records, directory, self.tracker.ui_command(), self.tracker.compare_url(self.sweep_id))
        return failed

    def abandon(self) -> None:
        """Close the runs of a sweep that was cut off, so that none is left running."""
        if is_submitted(self.progress.directory):
            self.leave()
            return
        self._close("KILLED", self._records())
        self.tracker.close_abandoned()

    def leave(self) -> None:
        """Leave a sweep to the engine that runs it: the parent run stays open."""
        directory = self.progress.directory
        self.tracker.hand_over(self.parent, owner(directory))
        print_next_steps(directory)

    def _records(self) -> list[dict[str, Any]]:
        directory = self.progress.directory
        return cell_records(directory) if is_shared(directory) else read_records(directory)

    def _close(self, status: "Status", records: list[dict[str, Any]]) -> None:
        if is_shared(
            self.progress.directory
        ):  # by now no task runs, and this host can't tell of those elsewhere
            self.tracker.close_left(self.sweep_id, self.parent)
        self.tracker.end_sweep(self.parent, [table_row(record) for record in records], status)


class SweepCallback(Callback):
    """Hydra's calls before and after runs, jobs and sweeps.

    Hydra keeps one instance for a whole sweep; launchers send copies to the processes of their jobs. The
    sweep sets the parameters in the config of its jobs.

    Parameters
    ----------
    parent : id of the sweep's parent run.
    sweep_id : tag of the sweep's runs.
    cells : number of the sweep's cells, 0 where it is unknown.
    """

    def __init__(self, parent: str = "", sweep_id: str = "", cells: int = 0) -> None:
        self._sweep: Sweep | None = None
        self._progress: Progress | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sweep with its own process; those of jobs get the rest."""
        return {**self.__dict__, "_sweep": None}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check that a single run can write, before Hydra does.

        Parameters
        ----------
        config : of the run.
        kwargs : Hydra's, not used.
        """
        self._start(config, config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the parent run; the jobs get its id by their config.

        Parameters
        ----------
        config : of the sweep.
        kwargs : Hydra's, not used.
        """
        self._start(config, config.hydra.sweep.dir)
        with _errors_that_end(config):
            _check_shared_memory(config)
            share_compositions()
            self._sweep = Sweep.open(config)
        atexit.register(self._abandon)
        self._progress = self._sweep.progress
        with read_write(config.hydra.overrides):
            config.hydra.overrides.hydra += self._sweep.overrides()

    def on_job_end(self, config: DictConfig, job_return: "JobReturn", **kwargs: Any) -> None:
        """Log the progress of a sweep; end it if the next job has no room.

        Parameters
        ----------
        config : of the job.
        job_return, kwargs : Hydra's, not used.
        """
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        with _errors_that_end(config):
            if self._progress:
                log.info("%s", self._progress.line(Path(config.hydra.runtime.output_dir)))
            if self._sweep is None:  # in a process that runs jobs for the sweep's own
                return
            try:
                self._sweep.check_room()
            except BaseException:
                self._end(failed=True)
                raise

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close the parent run; exit with 1 if a job failed or left no record.

        Parameters
        ----------
        config, kwargs : Hydra's, not used.
        """
        with _errors_that_end(config):
            waits = config.hydra.launcher.get("wait", True)
            if self._sweep and not waits and is_submitted(self._sweep.progress.directory):
                self._sweep.leave()
                self._forget()
            elif self._end():
                sys.exit(1)

    def _start(self, config: DictConfig, folder: str) -> None:
        HydraConfig.instance().set_config(config)
        with _errors_that_end(config):
            check_secret("tracking.uri", OmegaConf.select(config, "tracking.uri"))  # before Hydra writes it
            if not isinstance(config.output_dir, str):
                raise InputError("output_dir", "must be a valid string", config.output_dir)
            for place in (config.output_dir, folder):
                check_writable(Path(place).absolute())
            make_importable(config)

    def _end(self, *, failed: bool = False) -> bool:
        sweep = self._forget()
        return sweep is not None and sweep.end(failed=failed)

    def _forget(self) -> Sweep | None:
        sweep, self._sweep = self._sweep, None
        atexit.unregister(self._abandon)
        return sweep

    def _abandon(self) -> None:
        sweep = self._forget()
        try:
            if sweep:
                sweep.abandon()
        except Exception as error:  # the next start closes it
            print(f"The sweep's run can't be closed: {explain(error) or repr(error)}", file=sys.stderr)


def _tracker(config: DictConfig, output_dir: Path) -> "Tracker":
    """Make the tracker of a sweep, whose modules the command line must allow."""
    from fused_clip.runner.build import make_tracker

    node = OmegaConf.to_container(config.tracking, resolve=True)
    allow = allowed(config)
    check_allowed(allow, config.hydra.overrides.task)
    return make_tracker(node, output_dir, allow)  # type: ignore[arg-type]


def _at_once(config: DictConfig) -> int:
    """Cells that a launcher runs side by side."""
    wanted = int(config.hydra.launcher.get("n_jobs") or 1)
    return wanted if wanted > 0 else max(1, (os.cpu_count() or 1) + 1 + wanted)


@contextmanager
def _errors_that_end(config: DictConfig) -> Iterator[None]:
    """End the process with an error, which Hydra would turn into a warning of its own and go on."""
    try:
        yield
    except Exception as error:
        explained = explain(error, Path(str(config.output_dir)), KEPT)
        if explained is None:
            log.exception("The sweep can't go on")
            sys.exit(1)
        sys.exit(f"Error: {explained}")


def _check_shared_memory(config: DictConfig) -> None:
    """Raise InputError for jobs side by side where their processes can't share locks."""
    if "joblib" not in str(config.hydra.launcher.get("_target_")):
        return
    import multiprocessing

    try:
        multiprocessing.Lock()
    except (OSError, ImportError) as error:  # ImportError: a Python that was built without
        rule = f"must be basic where /dev/shm can't be used ({getattr(error, 'strerror', None) or error})"
        raise InputError(
            "hydra/launcher", rule, "joblib", hint="Jobs then run one after the other"
        ) from error
