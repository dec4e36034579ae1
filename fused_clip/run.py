"""Command line: ``python -m fused_clip.run dataset=mnist prompt=task``, or ``fused-clip`` with the same.

Nothing heavy is imported until the options are known to be right.
"""

import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fused_clip.runner.config import check
from fused_clip.runner.outcomes import run_recorded
from fused_clip.runner.overrides import check_words
from fused_clip.support.command import INTERRUPTED
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from fused_clip.support.versions import version_line

_STOPPED = (
    "Stopped. Finished cells and embeddings are kept in output_dir; the same command goes on from there."
)


class Terminated(BaseException):
    """SIGTERM, which ends a run as Ctrl-C does."""


@hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
def task(cfg: DictConfig) -> float:
    """Run one cell: a single run, or one job of a sweep; give its test accuracy, an optimiser's objective.

    A job of a sweep that fails, or whose accuracy is undefined, gives NaN.

    Parameters
    ----------
    cfg : the composed config.
    """
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode == RunMode.MULTIRUN:
        directory, overrides = Path(hydra_cfg.runtime.output_dir), list(hydra_cfg.overrides.task)
        return run_recorded(partial(_run, cfg, hydra_cfg), directory, overrides)
    try:
        return _run(cfg, hydra_cfg)
    except InputError as error:
        sys.exit(f"Error: {error}")


def _run(cfg: DictConfig, hydra_cfg: HydraConf) -> float:
    options = check(cfg)
    from fused_clip.runner.cell import Cell

    return Cell.from_hydra(options, cfg, hydra_cfg).run()


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def main() -> None:
    """Entry point of the console script."""
    if "--version" in sys.argv[1:]:  # Hydra's own would print Hydra's
        print(version_line())
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        check_words(sys.argv[1:])
        task()
    except InputError as error:
        sys.exit(f"Error: {error}")
    except (KeyboardInterrupt, Terminated) as stop:
        print(_STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED if isinstance(stop, KeyboardInterrupt) else 128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
