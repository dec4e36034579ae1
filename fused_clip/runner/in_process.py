"""Jobs of a sweep in the process that asks for them, without Hydra's command line."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from fused_clip.runner.compositions import share_compositions
from fused_clip.runner.config import check
from fused_clip.runner.outcomes import run_recorded
from fused_clip.runner.overrides import complaint_of
from fused_clip.runner.search_path import add_folders
from fused_clip.runner.targets import allowed, check_hydra, folders_of
from fused_clip.support.conf import conf_dir
from fused_clip.support.files import check_writable


@contextmanager
def composed(
    words: Sequence[str],
    folders: Sequence[str] = (),
    *,
    name: str = "config",
    hydra: Sequence[str] = (),
    directory: Path | None = None,
) -> Iterator[DictConfig]:
    """Compose the config of a sweep, with Hydra running; afterwards all of Hydra is as it was.

    Parameters
    ----------
    words : overrides, those with several values among them.
    folders : of config groups, the first of which goes before the others and has the main config; this
        package's by default. Those of plugins come after them.
    name : of the main config.
    hydra : further overrides, of Hydra's own node.
    directory : of the sweep; a new one by default.

    Raises
    ------
    InputError
        If an override can't be read, or Hydra would make what may not be called.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    running = GlobalHydra.instance()
    before, outer = HydraConfig.instance().cfg, running.hydra
    first, *others = folders or [str(conf_dir())]
    running.clear()
    try:
        with initialize_config_dir(first, job_name="fused_clip", version_base="1.3"):
            try:
                parsed = OverridesParser.create().parse_overrides([*hydra, *words])
                fixed = [one.input_line or "" for one in parsed if not one.is_sweep_override()]
                add_folders(others)
                own = ["hydra.mode=MULTIRUN", "hydra.searchpath=[]"]
                config = compose(name, overrides=[*own, *fixed], return_hydra_config=True)
            except HydraException as error:
                raise complaint_of(error) from error
            with read_write(config), open_dict(config):
                config.hydra.overrides.task = list(words)
                config.hydra.sweep.dir = str(Path(directory or config.hydra.sweep.dir).absolute())
                Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
            check_hydra(config.hydra, allowed(config))
            HydraConfig.instance().set_config(config)
            share_compositions()
            yield config
    finally:
        HydraConfig.instance().cfg = before
        GlobalHydra.instance().hydra = outer


def run_job(
    config: DictConfig, known: Sequence[str], job: Sequence[str], directory: Path, *, logged: bool = False
) -> None:
    """Run a job as Hydra's launcher does; its record says how it ended.

    Parameters
    ----------
    config : of the sweep, as `composed` gives it.
    known : overrides by which a job knows its sweep.
    job : overrides of the job.
    directory : of the job.
    logged : whether Hydra's log is set up for the job, with a file in its directory.

    Raises
    ------
    InputError
        If the directory can't be written.
    """
    check_writable(directory)

    def run() -> float:
        from hydra.core.utils import configure_log

        from fused_clip.runner.cell import Cell

        cfg = GlobalHydra.instance().config_loader().load_sweep_config(config, [*known, *job])
        with read_write(cfg), open_dict(cfg):
            cfg.hydra.runtime.output_dir = str(directory)
            cfg.hydra.overrides.task = list(job)
        HydraConfig.instance().set_config(cfg)
        hydra_cfg = HydraConfig.get()
        if logged:
            configure_log(cfg.hydra.job_logging, cfg.hydra.verbose)
        with open_dict(cfg):
            own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        return Cell.from_hydra(check(own, job), own, hydra_cfg).run()

    run_recorded(run, directory, job)
    HydraConfig.instance().set_config(config)


def make_importable(config: DictConfig) -> None:
    """Let ``_target_`` name modules of the user's config folders, and, where a module is allowed, import it.

    The working directory comes last: what lies there by chance does not take a library's place.

    Parameters
    ----------
    config : with its ``hydra`` node.
    """
    folders = [str(folder) for folder in folders_of(config.hydra)]
    sys.path[:0] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    if allowed(config) and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
