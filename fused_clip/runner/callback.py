"""What Hydra calls before and after runs, jobs and sweeps."""

import atexit
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.files import check_writable

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from fused_clip.runner.progress import Progress
    from fused_clip.runner.sweep import Sweep

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Checks places before Hydra writes to them, and keeps the parent run of a sweep.

    Hydra keeps one instance for a whole sweep; launchers send copies to the processes of their jobs.

    Parameters
    ----------
    parent : id of the sweep's parent run; the sweep sets it in the config of its jobs.
    sweep_id : tag of the sweep's runs; likewise.
    cells : number of the sweep's cells, 0 where it is unknown; likewise.
    """

    def __init__(self, parent: str = "", sweep_id: str = "", cells: int = 0) -> None:
        self._sweep: Sweep | None = None
        self._progress: Progress | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What the processes of jobs get: the sweep stays with its own."""
        return {**self.__dict__, "_sweep": None}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check that a single run can write, before Hydra does."""
        self._start(config, config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open the parent run; the jobs get its id by their config."""
        self._start(config, config.hydra.sweep.dir)
        from fused_clip.runner.sweep import Sweep

        try:
            self._sweep = Sweep.open(config)
        except InputError as error:
            sys.exit(f"Error: {error}")
        except Exception:
            # Hydra would turn it into a warning and run the jobs without their parent.
            log.exception("The sweep's parent run can't be opened")
            sys.exit(1)
        atexit.register(self._abandon)
        self._progress = self._sweep.progress
        with read_write(config.hydra.overrides):
            config.hydra.overrides.hydra += self._sweep.overrides()

    def on_job_end(self, config: DictConfig, job_return: "JobReturn", **kwargs: Any) -> None:
        """Say how far the sweep is; end it where there is no room for the next job."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        if self._progress:
            log.info("%s", self._progress.line(Path(config.hydra.runtime.output_dir)))
        if self._sweep is None:  # in a process that runs jobs for the sweep's own
            return
        try:
            self._sweep.check_room()
        except InputError as error:
            self._end(failed=True)
            sys.exit(f"Error: {error}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close the parent run; exit with 1 if a job failed or left no record."""
        if self._end():
            sys.exit(1)

    def _start(self, config: DictConfig, folder: str) -> None:
        HydraConfig.instance().set_config(config)
        try:
            for place in (config.output_dir, folder):
                check_writable(Path(place).absolute())
        except InputError as error:
            sys.exit(f"Error: {error}")
        make_importable(config)

    def _end(self, *, failed: bool = False) -> bool:
        sweep, self._sweep = self._sweep, None
        atexit.unregister(self._abandon)
        return sweep is not None and sweep.end(failed=failed)

    def _abandon(self) -> None:
        """End the parent run of a sweep that was cut off."""
        if self._sweep:
            self._sweep.abandon()
            self._sweep = None


def make_importable(config: DictConfig) -> None:
    """Let ``_target_`` name modules of the working directory and of the user's config folders.

    Parameters
    ----------
    config : with its ``hydra`` node.
    """
    sources = [source.path for source in config.hydra.runtime.config_sources if source.schema == "file"]
    folders = [str(Path(path).absolute()) for path in (".", *sources) if Path(path) != conf_dir()]
    sys.path[:0] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
