"""The forecast of a sweep: cells to run, cells to reuse, disk and memory."""

import logging
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, open_dict

from fused_clip.runner.build import prepare
from fused_clip.runner.config import Options, check
from fused_clip.runner.overrides import complaint_of
from fused_clip.runner.resources import check_memory, run_bytes, store_bytes
from fused_clip.runner.targets import allowed, check_hydra
from fused_clip.support.conf import axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.memory import available_memory, size

if TYPE_CHECKING:
    from fused_clip.runner.build import Prepared
    from fused_clip.tracking import Tracker

_MOST_PREPARED = 1_000


@dataclass(frozen=True)
class Forecast:
    """The forecast of a sweep.

    Parameters
    ----------
    cells : in the sweep.
    finished : of these, how many are going to be reused.
    need, free : bytes that the others will write, roughly, and bytes free.
    memory : bytes of memory that the largest of these takes, roughly.
    notes : of all cells that are going to run, each once; see `fused_clip.method.checks.notes`.
    prepared : cells that were looked at; 0 for all.
    """

    cells: int
    finished: int
    need: int
    free: int
    memory: int = 0
    notes: tuple[tuple[int, str], ...] = ()
    prepared: int = 0

    def check(self, output_dir: Path, at_once: int = 1) -> None:
        """Refuse a sweep that needs more disk or memory than is free.

        Parameters
        ----------
        output_dir : where it writes.
        at_once : cells that run side by side.
        """
        at_once = max(1, min(at_once, self.cells - self.finished))
        if at_once > 1 and self.memory * at_once > (free := available_memory()):
            taken = f"{at_once} cells at once take about {size(self.memory * at_once)}"
            hint = f"Use hydra.launcher.n_jobs={max(1, free // self.memory)}, or fewer rows (dataset.n_train)"
            raise InputError("memory", f"{taken}, and {size(free)} are free", hint=hint)
        if self.need > self.free:
            rule = f"the sweep takes about {size(self.need)} and {size(self.free)} are free"
            hint = "Free space, choose another folder, or leave out figures.enabled"
            raise InputError("output_dir", rule, str(output_dir), hint=hint)


def forecast(
    config: DictConfig,
    jobs: Sequence[list[str]],
    tracker: "Tracker",
    output_dir: Path,
    *,
    elsewhere: bool = False,
) -> Forecast:
    """Prepare the cells of a sweep without running them; one that fails counts as one to run.

    To compose a config takes a tenth of a second. Of more than 1,000 cells so many are drawn, and the
    others are taken to be like them.

    Parameters
    ----------
    config : of the sweep, with its ``hydra`` node; Hydra must be running.
    jobs : overrides of each; none for a sweeper that decides as it goes.
    tracker : of the sweep.
    output_dir : where runs, store and finished cells are.
    elsewhere : whether other machines run the cells, so that this one's memory does not matter.

    Raises
    ------
    InputError
        If Hydra can't compose a cell's config, or every cell fails: each reason once, a line a reason.
    """
    store: dict[str, int] = {}
    finished = need = memory = 0
    faults: list[Exception] = []
    notes: dict[tuple[int, str], None] = {}
    drawn = _drawn(jobs)
    for job, words in zip(_job_configs(config, drawn), drawn, strict=True):
        try:
            options = check(job, words)
            prepared = prepare(options)
            if _is_finished(options, prepared, tracker, output_dir):
                finished += 1
                continue
            memory = memory if elsewhere else max(memory, check_memory(prepared))
        except Exception as error:  # the job meets it too, and reports it
            faults.append(error)
            continue
        from fused_clip.runner.idle import idle  # not above: it imports scikit-learn

        notes |= dict.fromkeys(prepared.notes)
        notes |= dict.fromkeys((logging.WARNING, note) for note in idle(options, prepared, axes_of(words)))
        store |= store_bytes(prepared, output_dir, store)
        need += run_bytes(options, prepared, copied=tracker.copies_files, job=True)
    if faults and len(faults) == len(drawn):
        _refuse(faults)
    free, share = shutil.disk_usage(output_dir).free, len(jobs) / max(1, len(drawn))
    total = round(need * share) + sum(store.values())
    counts = (len(jobs), round(finished * share))
    return Forecast(*counts, total, free, memory, tuple(notes), prepared=len(drawn))


def _drawn(jobs: Sequence[list[str]]) -> Sequence[list[str]]:
    """The jobs, or so many of them; all where one changes Hydra itself, which has to be checked."""
    words = (word for job in jobs for word in job)
    if len(jobs) <= _MOST_PREPARED or any(word.lstrip("+~").startswith("hydra") for word in words):
        return jobs
    chosen = random.Random(0).sample(range(len(jobs)), _MOST_PREPARED)  # noqa: S311 - no secret
    return [jobs[index] for index in sorted(chosen)]


def _refuse(faults: Sequence[Exception]) -> None:
    """Refuse a sweep whose cells all fail; faults of the code are left to the jobs, which locate them."""
    first = faults[0]
    if isinstance(first, InputError) and all(isinstance(fault, InputError) for fault in faults):
        first.args = ("\n".join(dict.fromkeys(map(str, faults))),)
        raise first


def _job_configs(config: DictConfig, jobs: Iterable[list[str]]) -> Iterator[DictConfig]:
    """Compose the config of each job, without Hydra's; meanwhile that is the current one."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException

    loader = GlobalHydra.instance().config_loader()
    try:
        for job in jobs:
            try:
                cfg = loader.load_sweep_config(config, job)
            except HydraException as error:  # the launcher would meet it, and end the sweep
                raise complaint_of(error) from error
            HydraConfig.instance().set_config(cfg)
            check_hydra(cfg.hydra, allowed(cfg))
            with open_dict(cfg):
                del cfg["hydra"]
            yield cfg
    finally:
        HydraConfig.instance().set_config(config)


def _is_finished(options: Options, prepared: "Prepared", tracker: "Tracker", output_dir: Path) -> bool:
    from fused_clip.runner import artifacts, reuse

    if options.resume is False:
        return False
    key = reuse.cell_key(options, prepared.dataset, prepared.prompts, prepared.backbone.fingerprint)
    extras = artifacts.extras(options, prepared.dataset, job=True)
    return reuse.find(output_dir, key, extras, tracker.has_finished) is not None
