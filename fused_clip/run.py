"""Command line: ``python -m fused_clip.run dataset=mnist prompt=task``, or ``fused-clip`` with the same.

Nothing heavy is imported until the options are known to be right.
"""

import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fused_clip.runner import sweep
from fused_clip.runner.config import check
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)


@hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
def task(cfg: DictConfig) -> float:
    """Run one cell: a single run, or one job of a sweep.

    Returns
    -------
    Test accuracy, in [0, 1]: the objective of an optimising sweeper. NaN if a job of a sweep failed or
    its accuracy is undefined.
    """
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode == RunMode.MULTIRUN:
        return _job(cfg, hydra_cfg)
    try:
        return _run(cfg, hydra_cfg)
    except InputError as error:
        sys.exit(f"Error: {error}")


def _job(cfg: DictConfig, hydra_cfg: HydraConf) -> float:
    """Run a job of a sweep: whatever happens is recorded, and the other jobs go on while there is room."""
    try:
        accuracy = _run(cfg, hydra_cfg)
    except Exception as error:
        if isinstance(error, InputError):
            log.error("%s", error)
        else:
            log.exception("The job failed")
        _record_failure(hydra_cfg, str(error) or repr(error))
        accuracy = float("nan")
    sweep.end_if_full()
    return accuracy


def _record_failure(hydra_cfg: HydraConf, error: str) -> None:
    """Leave a record; where there is no room for one, the sweep takes the job for cut off."""
    try:
        sweep.record(Path(hydra_cfg.runtime.output_dir), list(hydra_cfg.overrides.task), error=error)
    except InputError as unwritten:
        log.error("%s", unwritten)


def _run(cfg: DictConfig, hydra_cfg: HydraConf) -> float:
    options = check(cfg)
    from fused_clip.runner.cell import Cell

    return Cell.from_hydra(options, cfg, hydra_cfg).run()


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signum)


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        task()
    finally:
        sweep.abandon()


if __name__ == "__main__":
    main()
