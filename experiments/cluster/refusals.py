"""Bad input on a real Slurm and Ray: one line, exit code 1, and nothing written."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.cluster.daemons import free_ports
from experiments.cluster.slurm_cluster import MAX_ARRAY
from experiments.cluster.workloads import CHEAP, Place

_SWEEP = (sys.executable, "-m", "fused_clip.run", "-m", *CHEAP, "tracking=none")
_SLURM = "hydra/launcher=slurm"


@dataclass(frozen=True)
class Refusal:
    """A command that must be refused.

    Parameters
    ----------
    name : of the mistake.
    words : of the command line.
    said : that the line must have.
    path : PATH of the command; empty for the usual one.
    """

    name: str
    words: Sequence[str]
    said: str
    path: str = ""


def refusals(images: Path) -> list[Refusal]:
    """List them.

    Parameters
    ----------
    images : root of an image folder.
    """
    own = ("dataset=imagefolder", f"dataset.root={images}", "backbone=compact", "shards=2")
    embed = (sys.executable, "-m", "fused_clip.embed", *own)
    many = f"seed=range({MAX_ARRAY + 1})"
    nowhere = f"hydra.launcher.address='127.0.0.1:{free_ports(1)[0]}'"
    return [
        Refusal("partition", (*_SWEEP, "seed=0,1", _SLURM, "hydra.launcher.partition=gpu"), "cpu"),
        Refusal("partition of shards", (*embed, _SLURM, "hydra.launcher.partition=gpu"), "cpu"),
        Refusal("array limit", (*_SWEEP, many, _SLURM, "hydra.launcher.cells_per_task=1"), str(MAX_ARRAY)),
        Refusal("time limit of a partition", (*_SWEEP, "seed=0,1", _SLURM, *_SHORT), "1"),
        Refusal("no sbatch", (*_SWEEP, "seed=0,1", _SLURM), "sbatch", _path_without_slurm()),
        Refusal("no Ray there", (*_SWEEP, "seed=0,1", "hydra/launcher=ray", nowhere), "127.0.0.1"),
        Refusal("no Ray there for shards", (*embed, "hydra/launcher=ray", nowhere), "127.0.0.1"),
    ]


_SHORT = ("hydra.launcher.partition=short", "hydra.launcher.minutes=5")


def check(place: Place, images: Path) -> Iterator[tuple[str, str]]:
    """Give each mistake, and the fault of its refusal; empty without a fault.

    Parameters
    ----------
    place : where commands run.
    images : root of an image folder.
    """
    for number, one in enumerate(refusals(images)):
        output_dir = place.output_dir / f"refused-{number}"
        own = {**place.environment, **({"PATH": one.path} if one.path else {})}
        done = Place(output_dir, place.logs / f"refused-{number}", own).call(
            *one.words, f"output_dir={output_dir}"
        )
        lines = [line for line in done.stdout.splitlines()[1:] if line.strip()]
        written = (
            [str(path) for path in output_dir.rglob("*") if path.is_file()] if output_dir.exists() else []
        )
        if done.returncode != 1:
            yield one.name, f"exit code {done.returncode}"
        elif len(lines) != 1 or not lines[0].startswith("Error: ") or one.said not in lines[0]:
            yield one.name, f"it says: {lines}"
        else:
            yield one.name, f"wrote {written[:3]}" if written else ""


def _path_without_slurm() -> str:
    """PATH without the folders that have sbatch, but with git, from a folder of links."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not shutil.which("sbatch", path=folder))
