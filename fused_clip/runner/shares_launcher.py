"""What Hydra's launchers for shares of a sweep have in common."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from fused_clip.runner.outcomes import read_record
from fused_clip.runner.shares import write_cells
from fused_clip.support.errors import InputError
from fused_clip.tracking.address import check_shared

_MLFLOW = "fused_clip.tracking.MlflowTracker"
_OURS = "hydra_plugins.fused_clip_launchers."


class SharesLauncher(Launcher):
    """Runs the cells of a sweep in shares, by an engine.

    Parameters
    ----------
    cells_per_task : cells of a share; None divides all cells by `tasks`.
    tasks : most shares of a sweep.
    wait : whether the command ends when the sweep has ended, rather than when the engine has it.
    """

    engine: Any

    def __init__(self, cells_per_task: int | None, tasks: int | None, *, wait: bool = True) -> None:
        for name, value in (("cells_per_task", cells_per_task), ("tasks", tasks)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(
                    f"hydra.launcher.{name}", "must be a number greater than or equal to 1", value
                )
        self.cells_per_task = cells_per_task
        self.tasks = tasks
        self.wait = wait
        self.config = DictConfig({})

    def size(self, cells: int) -> int:
        """Give the number of cells of a share.

        Parameters
        ----------
        cells : of the sweep.
        """
        return self.cells_per_task or max(1, math.ceil(cells / (self.tasks or cells or 1)))

    @property
    def stays_here(self) -> bool:
        """Whether all cells run on this machine."""
        return False

    def check_sweep(self, config: DictConfig, cells: int) -> None:
        """Check, before anything is written, that the engine can run a sweep.

        Parameters
        ----------
        config : of the sweep.
        cells : of the sweep; 0 where the sweeper decides as it goes.

        Raises
        ------
        InputError
            If it can't.
        """
        if not self.stays_here and str(config.tracking._target_) == _MLFLOW:
            check_shared(config.tracking.uri, Path(config.output_dir).absolute())
        if self.wait:
            return
        sweeper = config.hydra.sweeper
        hint = "hydra.launcher.wait=true lets this command wait for each batch of cells"
        if not cells:
            rule = "must be one that plans all cells in advance"
            raise InputError("hydra.sweeper", rule, sweeper._target_, hint=hint)
        if sweeper.get("max_batch_size") is not None:
            rule = "must be null: all cells are submitted at once"
            raise InputError("hydra.sweeper.max_batch_size", rule, sweeper.max_batch_size, hint=hint)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the config of the sweep.

        Parameters
        ----------
        hydra_context, task_function : Hydra's, not used: tasks compose the config anew.
        config : of the sweep.
        """
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Describe the cells in the sweep's directory, and give their shares to the engine.

        Parameters
        ----------
        job_overrides : of each cell.
        initial_job_idx : number of the first cell.
        """
        directory = Path(self.config.hydra.sweep.dir).absolute()
        size = self.size(len(job_overrides))
        self.run_shares(directory, write_cells(self.config, job_overrides, size, initial_job_idx))
        return [
            _returned(directory / str(number), job)
            for number, job in enumerate(job_overrides, initial_job_idx)
        ]

    @abstractmethod
    def run_shares(self, directory: Path, numbers: Sequence[int]) -> None:
        """Give shares to the engine.

        Parameters
        ----------
        directory : of the sweep.
        numbers : of the shares.
        """


def _returned(cell: Path, job: Sequence[str]) -> JobReturn:
    """What a sweeper learns of a cell: its test accuracy, NaN where there is none."""
    found = JobReturn(overrides=list(job), working_dir=str(cell), status=JobStatus.COMPLETED)
    record = read_record(cell)
    found.return_value = record["metrics"].get("test/accuracy", math.nan) if record else math.nan
    return found


def shares_launcher(config: DictConfig) -> SharesLauncher | None:
    """Make the launcher that a sweep asks for, if it is one for shares.

    Parameters
    ----------
    config : of the sweep.

    Raises
    ------
    InputError
        If its options are refused.
    """
    target = str(config.hydra.launcher.get("_target_"))
    if not target.startswith(_OURS):
        return None
    node: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    made: Any = get_class(target)
    launcher: SharesLauncher = made(**{key: value for key, value in node.items() if key != "_target_"})
    return launcher
