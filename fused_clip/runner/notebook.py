"""Sweeps from Python, such as in a notebook: without the command line, and with a table in return."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from fused_clip.runner.config import Options, check
from fused_clip.runner.jobs import planned_jobs
from fused_clip.runner.outcomes import read_records, run_recorded, table_row
from fused_clip.runner.overrides import complaint_of
from fused_clip.runner.sweep import Sweep, make_importable
from fused_clip.runner.targets import allowed, check_hydra
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame


def sweep(
    *overrides: str, output_dir: str | Path = "outputs", config_dir: str | Path | None = None
) -> "DataFrame":
    """Run every combination of some options, one cell after the other.

    Finished cells are reused, runs are tracked and files are kept as by ``fused-clip -m``.

    Parameters
    ----------
    overrides : as on the command line: ``"dataset=digits"``, ``"prompt=task,none"``, ``"seed=range(5)"``,
        ``"experiment=smoke"``.
    output_dir : where runs, the store of embeddings and the tracking database are kept.
    config_dir : folder of config groups of your own, as ``--config-dir``.

    Returns
    -------
    One row a cell: a column for each axis and metric, ``error``, ``run_id``, ``reused_from`` and
    ``directory``.

    Raises
    ------
    InputError
        If an override can't be read or no cell can run.
    """
    from pandas import DataFrame

    with _composed([*overrides, f"output_dir={str(output_dir)!r}"], config_dir) as config:
        make_importable(config)
        jobs = planned_jobs(config)
        if not jobs:
            rule = "must be one that plans all jobs in advance, as Hydra's own does"
            raise InputError("hydra.sweeper", rule, config.hydra.sweeper._target_)
        opened = Sweep.open(config)
        try:
            for number, job in enumerate(jobs):
                directory = _run(config, opened, number, job)
                print(opened.progress.line(directory))
        except BaseException:
            opened.abandon()
            raise
        opened.end()
        return DataFrame([table_row(record) for record in read_records(opened.progress.directory)])


def options_of(*overrides: str) -> Options:
    """Compose and check the options of one run.

    Parameters
    ----------
    overrides : as on the command line, without several values.

    Raises
    ------
    InputError
        If an override can't be read or a value is refused.
    """
    with _composed(overrides, None) as config, open_dict(config):
        return check(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), overrides)


@contextmanager
def _composed(overrides: Sequence[str], config_dir: str | Path | None) -> Iterator[DictConfig]:
    """The config of a sweep, with Hydra running; afterwards all of Hydra is as it was."""
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    before = HydraConfig.instance().cfg
    folders = [f"file://{Path(config_dir).absolute()}"] if config_dir else []
    try:
        with initialize_config_dir(str(conf_dir()), job_name="fused_clip", version_base="1.3"):
            try:
                parsed = OverridesParser.create().parse_overrides(list(overrides))
                fixed = [one.input_line or "" for one in parsed if not one.is_sweep_override()]
                own = ["hydra.mode=MULTIRUN", f"hydra.searchpath={folders}"]
                config = compose("config", overrides=[*own, *fixed], return_hydra_config=True)
            except HydraException as error:
                raise complaint_of(error) from error
            with read_write(config), open_dict(config):
                config.hydra.overrides.task = list(overrides)
                config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
                Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
            check_hydra(config.hydra, allowed(config))
            HydraConfig.instance().set_config(config)
            yield config
    finally:
        HydraConfig.instance().cfg = before


def _run(config: DictConfig, opened: Sweep, number: int, job: list[str]) -> Path:
    """Run a job as Hydra's launcher does; give its directory."""
    from hydra.core.global_hydra import GlobalHydra

    from fused_clip.runner.cell import Cell

    directory = opened.progress.directory / str(number)
    directory.mkdir(parents=True)
    opened.check_room()

    def run() -> float:
        cfg = GlobalHydra.instance().config_loader().load_sweep_config(config, [*opened.overrides(), *job])
        with read_write(cfg), open_dict(cfg):
            cfg.hydra.runtime.output_dir = str(directory)
            cfg.hydra.overrides.task = job
        HydraConfig.instance().set_config(cfg)
        hydra_cfg = HydraConfig.get()
        with open_dict(cfg):
            own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        return Cell.from_hydra(check(own, job), own, hydra_cfg).run()

    run_recorded(run, directory, job)
    HydraConfig.instance().set_config(config)
    return directory
