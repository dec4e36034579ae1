"""Which faults are made when, and by what."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.cluster.kinds_of_faults import Fault, RayFaults, SharedFaults, SlurmFaults
from experiments.cluster.workloads import CLUSTERERS, PROMPTS, Grid

# Faults of each kind, by where they hit. Together 200.
_FULL: Mapping[str, Mapping[str, int]] = {
    "slurm sweep": {
        "kill -9 of a task": 18,
        "kill -9 of a slurmd": 9,
        "kill -9 of a slurmd, its tasks started elsewhere": 4,
        "kill -9 of a node: slurmd and tasks": 4,
        "kill -9 of slurmctld": 4,
        "scancel": 10,
        "scontrol requeue": 10,
        "time limit": 6,
        "full disk": 6,
        "kill -9 of MLflow's server": 5,
        "kill -9 of PostgreSQL": 5,
    },
    "ray sweep": {
        "kill -9 of a Ray worker": 24,
        "kill -9 of a raylet": 12,
        "kill -9 of the command": 7,
        "full disk": 6,
        "kill -9 of MLflow's server": 5,
        "kill -9 of PostgreSQL": 5,
    },
    "slurm shards": {
        "kill -9 of a task": 8,
        "kill -9 of a slurmd": 4,
        "kill -9 of a slurmd, its tasks started elsewhere": 2,
        "kill -9 of a node: slurmd and tasks": 2,
        "scancel": 6,
        "scontrol requeue": 5,
        "time limit": 2,
        "full disk": 3,
    },
    "ray shards": {
        "kill -9 of a Ray worker": 12,
        "kill -9 of a raylet": 7,
        "kill -9 of the command": 4,
        "full disk": 5,
    },
}


_QUICK: Mapping[str, Mapping[str, int]] = {
    "slurm sweep": {"kill -9 of a task": 1, "scontrol requeue": 1, "scancel": 1},
    "ray sweep": {"kill -9 of a Ray worker": 1},
    "slurm shards": {"kill -9 of a slurmd": 1},
    "ray shards": {"kill -9 of a Ray worker": 1},
}


@dataclass(frozen=True)
class Size:
    """Size of a run.

    Parameters
    ----------
    plan : faults of each kind, by where they hit.
    seeds : of each prompt and clusterer; Slurm runs the first half, Ray the second.
    prompts, clusterers : names of options.
    cells_a_task : of a sweep.
    images : that are embedded.
    shards : of them.
    last : share of the work that is finished before the last fault.
    """

    plan: Mapping[str, Mapping[str, int]]
    seeds: int
    prompts: Sequence[str]
    clusterers: Sequence[str]
    cells_a_task: int
    images: int
    shards: int
    last: float = 0.96

    def grid(self, first: int, stop: int) -> Grid:
        """Give the cells of some seeds.

        Parameters
        ----------
        first, stop : first seed, and one after the last.
        """
        return Grid((first, stop), self.prompts, self.clusterers)

    def faults(self, where: str, seed: int) -> list[tuple[float, str]]:
        """Draw the faults of a part: each at a share of its work that is finished.

        Parameters
        ----------
        where : part of the run.
        seed : of the draw.
        """
        draw = random.Random(f"{seed} {where}")
        kinds = [kind for kind, count in self.plan[where].items() for _ in range(count)]
        draw.shuffle(kinds)
        return list(zip(sorted(draw.uniform(0.0, self.last) for _ in kinds), kinds, strict=True))


FULL = Size(_FULL, 34, PROMPTS, CLUSTERERS, 8, 20_000, 20)  # 680 cells, 200 faults
QUICK = Size(_QUICK, 4, PROMPTS[:2], CLUSTERERS[:1], 1, 2_000, 3, 0.0)  # faults as soon as tasks run


def slurm_faults(slurm: SlurmFaults, shared: SharedFaults) -> dict[str, Fault]:
    """Give the faults of a part on Slurm by their kind.

    Parameters
    ----------
    slurm : faults of the cluster.
    shared : of the disk and the servers.
    """
    return {
        "kill -9 of a task": slurm.kill_task,
        "kill -9 of a slurmd": slurm.kill_slurmd,
        "kill -9 of a slurmd, its tasks started elsewhere": slurm.lose_slurmd,
        "kill -9 of a node: slurmd and tasks": slurm.lose_node,
        "kill -9 of slurmctld": slurm.kill_controller,
        "scancel": slurm.cancel,
        "scontrol requeue": slurm.requeue,
        "time limit": slurm.time_limit,
        **_shared_faults(shared),
    }


def ray_faults(ray: RayFaults, shared: SharedFaults) -> dict[str, Fault]:
    """Give the faults of a part on Ray by their kind.

    Parameters
    ----------
    ray : faults of the cluster.
    shared : of the disk and the servers.
    """
    return {
        "kill -9 of a Ray worker": ray.kill_task,
        "kill -9 of a raylet": ray.kill_raylet,
        "kill -9 of the command": ray.kill_driver,
        **_shared_faults(shared),
    }


def _shared_faults(shared: SharedFaults) -> dict[str, Fault]:
    return {
        "full disk": shared.full_disk,
        "kill -9 of MLflow's server": lambda: shared.server("MLflow"),
        "kill -9 of PostgreSQL": lambda: shared.server("PostgreSQL"),
    }
