"""A sweep as tasks of Ray, with one or several cells a task; the command waits for them."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fused_clip.runner.shares_launcher import SharesLauncher

log = logging.getLogger("fused_clip.ray")


class RayLauncher(SharesLauncher):
    """Runs a sweep on Ray and ends it as one on this machine ends.

    Parameters
    ----------
    cells_per_task : cells that a task runs one after the other.
    options : as of `fused_clip.engine.ray_tasks.RayTasks`.
    """

    def __init__(self, cells_per_task: int = 1, **options: Any) -> None:
        from fused_clip.engine.ray_tasks import RayTasks

        super().__init__(cells_per_task, None)
        self.engine = RayTasks.of(options)

    @property
    def stays_here(self) -> bool:
        """Whether Ray runs on this machine alone."""
        return bool(self.engine.place == "local")

    def check_sweep(self, config: DictConfig, cells: int) -> None:
        """Check that Ray is there and has room for a task."""
        super().check_sweep(config, cells)
        self.engine.check()

    def run_shares(self, directory: Path, numbers: Sequence[int]) -> None:
        """Run shares as tasks; log each cell, and record what kept a cell from a record of its own."""
        from fused_clip.runner.jobs import varying_axes
        from fused_clip.runner.outcomes import Progress, read_record, record
        from fused_clip.runner.shares import read_cells, run_share
        from fused_clip.support.conf import axes_of

        sweep = read_cells(directory)
        axes = tuple(varying_axes([axes_of(job) for job in sweep.cells]))
        progress = Progress(directory, sweep.started, len(sweep.cells), axes=axes)

        def ended(number: int, error: str) -> None:
            if error:
                log.error("Ray: a task failed: %s", error)
            for cell in sweep.share(number):
                own = directory / str(cell)
                if error and read_record(own) is None:
                    own.mkdir(parents=True, exist_ok=True)
                    record(own, sweep.cells[cell], error=error)
                log.info("%s", progress.line(own))

        log.info("%d tasks on Ray (%s)", len(numbers), self.engine.place)
        self.engine.run(partial(run_share, str(directory)), numbers, "sweep", ended=ended)
