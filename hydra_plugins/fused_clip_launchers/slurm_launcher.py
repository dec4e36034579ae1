"""A sweep as one array of Slurm, with several cells a task."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fused_clip.runner.shares_launcher import SharesLauncher

log = logging.getLogger("fused_clip.slurm")


class SlurmLauncher(SharesLauncher):
    """Submits a sweep to Slurm, and leaves it there or waits for it.

    Parameters
    ----------
    cells_per_task : cells that a task runs one after the other; None divides all cells by `tasks`.
    tasks : most tasks of the array.
    wait : whether the command waits for the array and ends the sweep.
    options : as of `fused_clip.engine.slurm_array.SlurmArray`.
    """

    def __init__(
        self, cells_per_task: int | None = None, tasks: int | None = 100, wait: bool = False, **options: Any
    ) -> None:
        from fused_clip.engine.slurm_array import SlurmArray

        super().__init__(cells_per_task, tasks, wait=wait)
        self.engine = SlurmArray.of(options)

    def check_sweep(self, config: DictConfig, cells: int) -> None:
        """Check that Slurm is there and would take the array."""
        from fused_clip.engine.slurm_queue import max_array_size
        from fused_clip.support.errors import InputError

        super().check_sweep(config, cells)
        self.engine.check(1)
        tasks, most = math.ceil(cells / self.size(cells)), max_array_size()
        if tasks > most:
            rule = f"must be at least {math.ceil(cells / most)}: an array has at most {most:,} tasks here"
            found = f"{self.cells_per_task} for {cells:,} cells"
            raise InputError("hydra.launcher.cells_per_task", f"{rule} (MaxArraySize)", found)

    def run_shares(self, directory: Path, numbers: Sequence[int]) -> None:
        """Submit shares as one array, and wait for them where that is asked for."""
        from fused_clip.runner.shares import run_share
        from fused_clip.runner.submitted import engine_folder

        folder = engine_folder(directory)
        ids = self.engine.submit(partial(run_share, str(directory)), numbers, folder, "fused_clip")
        if self.wait:
            array = next(iter(ids.values())).partition("_")[0]
            log.info("waiting for the Slurm array %s of %d tasks", array, len(ids))
            self.engine.wait(folder)
