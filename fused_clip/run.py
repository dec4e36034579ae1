"""Command line: ``python -m fused_clip.run dataset=mnist prompt=task``, or ``fused-clip`` with the same.

Nothing heavy is imported until the options are known to be right.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fused_clip.runner.config import check
from fused_clip.runner.outcomes import run_recorded
from fused_clip.runner.overrides import check_hydras_parts, check_words, with_allowed
from fused_clip.support import collector
from fused_clip.support.command import one_line_errors, print_any_text
from fused_clip.support.conf import conf_dir
from fused_clip.support.machine import KEPT, explain
from fused_clip.support.memory import check_libraries
from fused_clip.support.plugins import full_version
from fused_clip.support.threads import wait_briefly

_GO_ON = "Finished cells and embeddings are kept in output_dir; the same command goes on from there."
_FULL_ERROR = "HYDRA_FULL_ERROR"


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
    except Exception as error:
        explained = explain(error, Path(cfg.output_dir), KEPT)
        if explained is None:
            raise
        sys.exit(f"Error: {explained}")


def _run(cfg: DictConfig, hydra_cfg: HydraConf) -> float:
    options = check(cfg, hydra_cfg.overrides.task)
    from fused_clip.runner.cell import Cell

    return Cell.from_hydra(options, cfg, hydra_cfg).run()


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def main() -> None:
    """Entry point of the console script."""
    if "--version" in sys.argv[1:]:  # Hydra's own would print Hydra's
        print(full_version())
        return
    collector.rest()
    signal.signal(signal.SIGTERM, _terminate)
    print_any_text()
    try:
        with one_line_errors(_GO_ON, KEPT), _errors_of_hydra():
            sys.argv[1:] = with_allowed(sys.argv[1:])
            check_words(sys.argv[1:])
            check_hydras_parts(sys.argv[1:])
            check_libraries()
            wait_briefly()
            task()
    except Terminated:
        print(f"Stopped. {_GO_ON}", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)


@contextmanager
def _errors_of_hydra() -> Iterator[None]:
    """Let Hydra raise errors, of which it would print tracebacks, and print its own messages as it does."""
    asked = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        yield
    except CompactHydraException as error:
        if asked == "1":
            raise
        cause = error.__cause__
        more = [str(cause)] if isinstance(cause, OmegaConfBaseException) else []
        sys.exit("\n".join([str(error), *more]))
    finally:
        os.environ.pop(_FULL_ERROR)
        os.environ |= {} if asked is None else {_FULL_ERROR: asked}


if __name__ == "__main__":
    main()
