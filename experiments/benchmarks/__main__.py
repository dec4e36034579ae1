"""Run what this machine has not measured yet, then write its tables: `python -m experiments.benchmarks`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.benchmarks.machine import environment, slug
from experiments.benchmarks.measure import Benchmark, Results, measure
from experiments.benchmarks.suite import BENCHMARKS
from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
ASKED_FOR = ("threads",)  # a question of its own, with its own file of results


class Settings(BaseModel):
    """All keys of `conf/benchmarks.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] | None
    sizes: tuple[int, ...] | None
    largest: int | None
    peers: bool
    repeats: int = Field(ge=1)
    long: float = Field(ge=0)
    threads: int | None = Field(ge=1)
    results: Path | None


def plan(settings: Settings) -> Iterator[tuple[int, list[Benchmark]]]:
    """Yield sizes, ascending within a task, with the benchmarks to be measured side by side.

    Raises
    ------
    InputError
        If a task is not known.
    """
    known = list(dict.fromkeys(one.task for one in BENCHMARKS))
    for task in settings.tasks or ():
        if task not in known:
            raise InputError("tasks", "is not a task", task, choices=known)
    chosen = [
        (task, size, one)
        for task in settings.tasks or (task for task in known if task not in ASKED_FOR)
        for one in BENCHMARKS
        if one.task == task and (settings.peers or not one.peer)
        for size in settings.sizes or one.sizes
        if settings.largest is None or size <= settings.largest
    ]
    order = sorted(chosen, key=lambda entry: (known.index(entry[0]), entry[1]))
    for (_, size), entries in groupby(order, key=lambda entry: entry[:2]):
        yield size, [one for _, _, one in entries]


def run(settings: Settings) -> None:
    """Measure, benchmark after benchmark in turn, until each has its runs; then report."""
    from experiments.benchmarks.report import write

    if settings.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    results = Results(settings.results or HERE / "results" / f"{slug(environment())}.json")
    results.check_machine()
    for size, side_by_side in plan(settings):
        for repeat in range(settings.repeats):
            for one in side_by_side:
                if reason := one.missing():
                    if not repeat:
                        log.warning("%s is left out: %s", one.name, reason)
                    continue
                done = results.of(one, size)
                if len(done) > repeat or any(taken.seconds > settings.long for taken in done):
                    continue
                results.add(measure(one, size))
                log.info("%s, %d: %.2f s", one.name, size, results.runs[-1].seconds)
    for path in write(results, BENCHMARKS):
        log.info("wrote %s", path)


@hydra.main(config_path="conf", config_name="benchmarks", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the configuration, then run."""
    try:
        run(Settings.model_validate(OmegaConf.to_container(cfg, resolve=True)))
    except ValidationError as error:
        sys.exit(f"conf/benchmarks.yaml: {error}")
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
