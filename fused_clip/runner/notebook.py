"""Sweeps, their references and datasets from Python, such as in a notebook: without the command line."""

from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf, open_dict

from fused_clip.method.reference import known_references
from fused_clip.runner.config import Options, check
from fused_clip.runner.in_process import composed, forget_modules, make_importable, run_job
from fused_clip.runner.jobs import planned_jobs
from fused_clip.runner.outcomes import read_records, table_row
from fused_clip.runner.sweep import Sweep
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from fused_clip.dataset.image_dataset import ImageDataset


def sweep(
    *overrides: str,
    output_dir: str | Path = "outputs",
    config_dir: str | Path | None = None,
    verbose: bool = True,
) -> "DataFrame":
    """Run every combination of some options, one cell after the other.

    Finished cells are reused, runs are tracked and files are kept as by ``fused-clip -m``.

    Parameters
    ----------
    overrides : as on the command line: ``"dataset=digits"``, ``"prompt=task,none"``, ``"seed=range(5)"``,
        ``"experiment=smoke"``.
    output_dir : where runs, the store of embeddings and the tracking database are kept.
    config_dir : folder of config groups of your own, as ``--config-dir``.
    verbose : whether to print the plan, a line for each cell and the table. Warnings and failures are logged
        in any case.

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

    folders = [str(conf_dir()), *([str(Path(config_dir).absolute())] if config_dir else [])]
    words = [*overrides, f"output_dir={str(output_dir)!r}"]
    quiet = nullcontext() if verbose else redirect_stdout(StringIO())
    with quiet, composed(words, folders) as config:
        make_importable(config)
        if config_dir:
            forget_modules(Path(config_dir))
        jobs = planned_jobs(config)
        if not jobs:
            rule = "must be one that plans all jobs in advance, as Hydra's own does"
            raise InputError("hydra.sweeper", rule, config.hydra.sweeper._target_)
        opened = Sweep.open(config)
        try:
            for number, job in enumerate(jobs):
                directory = opened.progress.directory / str(number)
                run_job(config, opened.overrides(), job, directory)
                print(opened.progress.line(directory))
        except BaseException:
            opened.abandon()
            raise
        opened.end()
        return DataFrame([table_row(record) for record in read_records(opened.progress.directory)])


def load_dataset(*overrides: str) -> "ImageDataset":
    """Load the images and labels of an option of the group ``dataset``, as a run with these words uses them.

    ``dataset.test.read()`` gives the pixels of a split, ``dataset.test.labels`` its labels, as positions in
    ``dataset.class_names``.

    Parameters
    ----------
    overrides : as on the command line: ``"dataset=cifar10"``, ``"dataset.n_test=300"``.

    Raises
    ------
    InputError
        If an override can't be read, the options do not fit the data, or the data can't be had.
    """
    from fused_clip.runner.build import make_dataset

    options = compose_options(*overrides)
    return make_dataset(options.dataset.with_allowed(options.allow), options.data_dir)


def references(config_dir: str | Path | None = None) -> "DataFrame":
    """Say what the references of a run are, such as those in the columns of a sweep's table.

    Parameters
    ----------
    config_dir : folder of config groups of your own, as ``--config-dir``; its references are listed too.

    Returns
    -------
    One row a reference, by its name as in ``reference/<name>_accuracy``: ``title``, ``explanation`` and
    ``uses_labels``, which is "no", "yes", "as the run", "for the vote" or "for the names".

    Raises
    ------
    InputError
        If a YAML can't be read or is no reference.
    """
    from pandas import DataFrame

    known = known_references([Path(config_dir)] if config_dir else [])
    return DataFrame([asdict(facts) for facts in known.values()]).set_index("name")


def compose_options(*overrides: str) -> Options:
    """Compose and check the options of one run.

    Parameters
    ----------
    overrides : as on the command line, without several values.

    Raises
    ------
    InputError
        If an override can't be read or a value is refused.
    """
    with composed(overrides) as config, open_dict(config):
        return check(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), overrides)
