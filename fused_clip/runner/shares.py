"""A sweep in shares: contiguous ranges of its cells, each run in one process, on whichever machine."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from fused_clip.runner.in_process import composed, make_importable, run_job
from fused_clip.runner.jobs import varying_axes
from fused_clip.runner.outcomes import CUT_OFF, lost_record, outcome_of, read_record
from fused_clip.support.checksums import sealed, unsealed
from fused_clip.support.conf import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, read_regular, write_atomic
from fused_clip.support.json_files import parse_json
from fused_clip.support.plugins import plugin_versions

log = logging.getLogger(__name__)
CELLS = "cells.json"
NOT_RUN = "it has not run yet"
_LOCKS = ".shares"
_SOURCES = ("main", "command-line", "hydra.searchpath in main", "hydra.searchpath in command-line")


class SharedSweep(BaseModel):
    """A sweep whose cells run in shares, as its directory describes it.

    Parameters
    ----------
    words : overrides of the command line.
    argv : words of the command, with which its runs are tagged.
    hydra : overrides of Hydra's own node, by which each cell knows its sweep.
    folders : of config groups, in order.
    name : of the main config.
    cwd : working directory, to which relative paths refer.
    clock : what ``${now:...}`` gave, with its patterns.
    parent : id of the parent run.
    sweep_id : tag of the sweep's runs.
    started : seconds since the epoch.
    plugins : version of each plugin that was installed, by name.
    cells : overrides of each.
    bounds : first cell of each share, and the number of cells at the end.
    """

    words: list[str]
    argv: list[str]
    hydra: list[str]
    folders: list[str]
    name: str
    cwd: str
    clock: list[tuple[list[str], str]]
    parent: str
    sweep_id: str
    started: float
    plugins: dict[str, str] | None = None
    cells: list[list[str]]
    bounds: list[int]

    @property
    def numbers(self) -> range:
        """Numbers of its shares, from 1."""
        return range(1, len(self.bounds))

    def share(self, number: int) -> range:
        """Give the cells of a share.

        Parameters
        ----------
        number : of the share.

        Raises
        ------
        InputError
            If there is no such share.
        """
        if number not in self.numbers:
            raise InputError("share", f"must be from 1 to {len(self.numbers)}", number)
        return range(self.bounds[number - 1], self.bounds[number])

    @contextmanager
    def composed(self, directory: Path) -> Iterator[DictConfig]:
        """Compose the config of the sweep, in its working directory.

        Parameters
        ----------
        directory : of the sweep.

        Raises
        ------
        InputError
            If this machine lacks its working directory, or has other plugins.
        """
        if self.plugins not in (None, found := plugin_versions()):
            rule = f"each machine must have those of the command: {_listed(self.plugins)}"
            raise InputError("plugins", rule, _listed(found), hint="Install them, and run the share again")
        if not Path(self.cwd).is_dir():
            rule = "must be a folder that each machine has: this one lacks it"
            raise InputError("working directory", rule, self.cwd)
        with (
            contextlib.chdir(self.cwd),
            composed(
                self.words, self.folders, name=self.name, hydra=self.hydra, directory=directory
            ) as config,
        ):
            cache = OmegaConf.get_cache(config)
            cache["now"] = {tuple(patterns): value for patterns, value in self.clock}
            OmegaConf.set_cache(config, cache)
            make_importable(config)
            yield config


@dataclass(frozen=True)
class ShareCounts:
    """Cells of a share by how far they came.

    Parameters
    ----------
    number : of the share.
    finished, failed : cells that have a record.
    begun : cells that have a directory and no record: they run, or their process was killed.
    missing : cells that were not begun.
    """

    number: int
    finished: int
    failed: int
    begun: int
    missing: int

    @property
    def done(self) -> bool:
        """Whether all its cells are finished."""
        return not (self.failed or self.begun or self.missing)


def _listed(versions: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in (versions or {}).items()) or "none"


def write_cells(config: DictConfig, jobs: Sequence[Sequence[str]], size: int, first: int = 0) -> list[int]:
    """Describe cells of a sweep in its directory, in shares; give the numbers of these shares.

    Parameters
    ----------
    config : of the sweep, as a launcher gets it.
    jobs : overrides of each cell.
    size : cells in a share.
    first : cells that are described already, by an earlier call.
    """
    directory = Path(config.hydra.sweep.dir).absolute()
    earlier = read_cells(directory) if first else None
    cells = [*(earlier.cells[:first] if earlier else []), *(list(job) for job in jobs)]
    bounds = [*(earlier.bounds if earlier else [0])]
    before = len(bounds)
    bounds += [*range(first + size, len(cells), size), len(cells)]
    sweep = earlier or _described(config)
    content = sweep.model_copy(update={"cells": cells, "bounds": bounds}).model_dump(mode="json")
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / CELLS, (json.dumps(sealed(content), indent=1) + "\n").encode())
    return list(range(before, len(bounds)))


def _described(config: DictConfig) -> SharedSweep:
    hydra = config.hydra
    sources = [one for one in hydra.runtime.config_sources if one.provider in _SOURCES]
    # As a list, each word with an interpolation would be resolved.
    overrides: Any = OmegaConf.to_container(hydra.overrides, resolve=False)
    own = [word for word in overrides["hydra"] if not word.startswith("hydra.searchpath=")]
    known = _known(own)
    return SharedSweep(
        words=overrides["task"],
        argv=sys.argv[1:],
        hydra=own,
        folders=[str(Path(one.path).absolute()) for one in sources if one.schema == "file"],
        name=hydra.job.config_name,
        cwd=hydra.runtime.cwd,
        clock=[(list(key), value) for key, value in OmegaConf.get_cache(config)["now"].items()],
        parent=known["parent"],
        sweep_id=known["sweep_id"],
        started=time.time(),
        plugins=plugin_versions(),
        cells=[],
        bounds=[0],
    )


def _known(words: Sequence[str]) -> dict[str, str]:
    """What each cell knows of its sweep, from the overrides that say so."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    place = "hydra.callbacks.sweep."
    found = OverridesParser.create().parse_overrides(list(words))
    values = {one.key_or_group: str(one.value()) for one in found if one.key_or_group.startswith(place)}
    return {key: values.get(f"{place}{key}", "") for key in ("parent", "sweep_id")}


def is_shared(directory: Path) -> bool:
    """Whether the cells of a sweep run in shares.

    Parameters
    ----------
    directory : of the sweep.
    """
    return (directory / CELLS).is_file()


def read_cells(directory: Path) -> SharedSweep:
    """Read the description of a sweep in shares.

    Parameters
    ----------
    directory : of the sweep.

    Raises
    ------
    InputError
        If it is the directory of no such sweep, or its description is damaged.
    """
    if not is_shared(directory):
        rule = f"must be the directory of a sweep that ran in shares: it has no {CELLS}"
        raise InputError("directory", rule, str(directory))
    try:
        content = parse_json(read_regular(directory / CELLS))
        return SharedSweep.model_validate(unsealed(content, required=True))
    except (OSError, ValueError) as error:
        rule = f"is damaged: {CELLS} ({str(error).splitlines()[0]})"
        raise InputError("directory", rule, str(directory)) from error


def run_share(directory: str, number: int) -> None:
    """Run the cells of a share that are not finished, one after the other, in this process.

    A cell that fails is recorded, and the others go on. A second process that runs the same share waits, and
    finds its cells finished.

    Parameters
    ----------
    directory : of the sweep.
    number : of the share, from 1.

    Raises
    ------
    InputError
        If the sweep's directory can't be read or written, or its config can't be composed.
    """
    folder = Path(directory).absolute()
    sweep = read_cells(folder)
    share = sweep.share(number)
    lock = folder / _LOCKS / f"{number}.lock"
    with locked(lock, what=f"share {number}"), _command(sweep.argv), sweep.composed(folder) as config:
        axes = varying_axes([axes_of(job) for job in sweep.cells])
        for cell in share:
            own = folder / str(cell)
            if _is_finished(own):
                continue
            run_job(config, (), sweep.cells[cell], own, logged=True)
            record = read_record(own) or lost_record(own, CUT_OFF, sweep.cells[cell])
            log.info("cell %d of share %d: %s", cell, number, outcome_of(record, axes))


@contextmanager
def _command(words: Sequence[str]) -> Iterator[None]:
    """Give the process the command line of the sweep, with which runs are tagged."""
    before = sys.argv[1:]
    sys.argv[1:] = words
    try:
        yield
    finally:
        sys.argv[1:] = before


def _is_finished(cell: Path) -> bool:
    record = read_record(cell)
    return record is not None and not record["error"]


def cell_records(directory: Path) -> list[dict[str, Any]]:
    """Read the records of all cells of a sweep in shares; cells without one count as errors.

    Parameters
    ----------
    directory : of the sweep.
    """
    found = []
    for cell, overrides in enumerate(read_cells(directory).cells):
        own = directory / str(cell)
        error = CUT_OFF if own.is_dir() else NOT_RUN
        found.append(read_record(own) or lost_record(own, error, overrides))
    return found


def count_cells(directory: Path) -> list[ShareCounts]:
    """Count the cells of each share of a sweep by how far they came.

    Parameters
    ----------
    directory : of the sweep.
    """
    sweep = read_cells(directory)
    return [_counts(directory, number, sweep.share(number)) for number in sweep.numbers]


def _counts(directory: Path, number: int, share: range) -> ShareCounts:
    folders = [directory / str(cell) for cell in share]
    records = {folder: read_record(folder) for folder in folders}
    failed = sum(record is not None and bool(record["error"]) for record in records.values())
    without = [folder for folder, record in records.items() if record is None]
    begun = sum(folder.is_dir() for folder in without)
    missing = len(without) - begun
    return ShareCounts(number, len(share) - failed - begun - missing, failed, begun, missing)
