"""Run shards here, or by the engine that ``hydra/launcher`` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.dataset.names import shortened
from fused_clip.embed.embed_words import EmbedWords, opened
from fused_clip.engine.ray_tasks import RayTasks
from fused_clip.engine.slurm_array import SlurmArray
from fused_clip.store.shard import Shard
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.embed.shard_work import ShardWork

_LOCAL = ".BasicLauncher"


def run_shard(words: EmbedWords, folder: str, of: int, number: int) -> None:
    """Embed one shard: the call of every engine.

    Parameters
    ----------
    words : of the command line.
    folder : working directory in which they were written.
    of : number of shards.
    number : of the shard, from 1.
    """
    with chdir(folder), opened(words) as (work, _):
        work.run(Shard(number, of))


def run_here(work: ShardWork, numbers: Sequence[int], of: int) -> None:
    """Embed shards one after the other; those that other processes work on come last.

    Parameters
    ----------
    work : of the dataset.
    numbers : of the shards, from 1.
    of : number of shards.
    """
    states = {item.shard.number: item.state for item in work.progress(of)}
    for number in sorted(numbers, key=lambda number: states[number] == "running"):
        work.run(Shard(number, of))


def checked_launcher(node: Any) -> Any:
    """Make the launcher whose engine runs shards, and check that the engine is there; None to run them here.

    Parameters
    ----------
    node : config of ``hydra/launcher``.

    Raises
    ------
    InputError
        If the launcher is not for shards, or its engine is not there.
    """
    from hydra.utils import instantiate

    target = str(node["_target_"])
    if target.endswith(_LOCAL):
        return None
    made = instantiate(node)
    engine = getattr(made, "engine", None)
    if isinstance(engine, RayTasks):
        engine.check()
    elif isinstance(engine, SlurmArray):
        engine.check(1)
    else:
        raise InputError(
            "hydra/launcher", "must be basic, slurm or ray to embed shards", target.rpartition(".")[2]
        )
    return made


def run_by_engine(work: ShardWork, launcher: Any, words: EmbedWords, numbers: Sequence[int], of: int) -> bool:
    """Give shards to Slurm or Ray; whether they are finished.

    Parameters
    ----------
    work : of the dataset.
    launcher : of `checked_launcher`.
    words : of the command line.
    numbers : of the shards, from 1.
    of : number of shards.

    Raises
    ------
    InputError
        If the engine is not there or refuses the work, or a shard failed.
    """
    engine = launcher.engine
    call = partial(run_shard, words, os.getcwd(), of)
    if isinstance(engine, RayTasks):
        failed = engine.run(call, numbers, "embed", batches=True)
        if failed:
            lines = "; ".join(f"shard {number}/{of}: {why}" for number, why in failed.items())
            raise InputError("shards", f"{len(failed)} failed: {lines}", hint="The same command goes on")
        return True
    folder = _submitted_from(work)
    _submit(engine, call, numbers, folder)
    if launcher.wait:
        engine.wait(folder)
        rest = [str(item.shard) for item in work.progress(of) if item.state != "finished"]
        if rest:
            raise InputError(
                "shards", f"{len(rest)} are not finished: {shortened(rest)}", hint=f"Logs: {folder}"
            )
    return bool(launcher.wait)


def _submitted_from(work: ShardWork) -> Path:
    """Folder of the logs of tasks."""
    first = next(iter(work.entries.values()))
    return (first.root.parent / "submitted" / first.folder.name).absolute()


def _submit(engine: SlurmArray, call: Callable[[int], None], numbers: Sequence[int], folder: Path) -> None:
    """Submit those shards that are not in the queue already."""
    waiting = {number for number, state in engine.states(folder).items() if state != "gone"}
    rest = [number for number in numbers if number not in waiting]
    if waiting:
        print(f"{len(waiting)} shards are in Slurm's queue already")
    if rest:
        engine.check(len(rest))
        ids = engine.submit(call, rest, folder, "embed")
        array = next(iter(ids.values())).partition("_")[0]
        print(f"Submitted {len(rest)} shards as array {array}; logs: {folder}")
