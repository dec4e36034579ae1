"""200 random faults over a sweep of 680 cells and 20,000 images, on Slurm and on Ray.

``python -m experiments.cluster --full`` runs it. It goes on until everything is finished, as a user does: the
same command again, or ``fused-clip-sweep resubmit``. Then it compares with what one machine makes.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from experiments.cluster import comparison
from experiments.cluster.comparison import Differences
from experiments.cluster.daemons import ClusterError
from experiments.cluster.images import make_images
from experiments.cluster.kinds_of_faults import Fault, RayFaults, Repairs, SharedFaults, SlurmFaults
from experiments.cluster.mlflow_server import MlflowServer
from experiments.cluster.postgres_server import PostgresServer
from experiments.cluster.ray_cluster import RayCluster
from experiments.cluster.slurm_cluster import SlurmCluster
from experiments.cluster.workloads import (
    Grid,
    Place,
    RayShards,
    RaySweep,
    SlurmShards,
    SlurmSweep,
    Workload,
)

HERE = Path(__file__).parent
SEEDS = 34  # of each prompt and clusterer: 680 cells; Slurm runs the first half, Ray the second
SHARDS = 40
DISK = "400m"  # the size of the disk that gets full
STUCK = 900.0  # seconds without a finished cell or shard after which it's given up
# Faults of each kind, by where they hit. Together 200.
PLAN: Mapping[str, Mapping[str, int]] = {
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


@dataclass
class Done:
    """A fault that was made.

    Parameters
    ----------
    where : part of the run.
    kind : of the fault.
    second : since the start of the part.
    victims : cells that were begun and not finished.
    """

    where: str
    kind: str
    second: float
    victims: list[str] = field(default_factory=list)


def plan(where: str, seed: int, scale: float = 1.0) -> list[tuple[float, str]]:
    """Draw the faults of a part: each at a share of its work that is finished.

    Parameters
    ----------
    where : part of the run.
    seed : of the draw.
    scale : share of the faults; at least one of each kind is left.
    """
    draw = random.Random(f"{seed} {where}")
    kinds = [kind for kind, count in PLAN[where].items() for _ in range(max(1, round(count * scale)))]
    draw.shuffle(kinds)
    moments = sorted(draw.uniform(0.0, 0.96) for _ in kinds)
    return list(zip(moments, kinds, strict=True))


def drive(
    work: Workload, where: str, faults: Mapping[str, Fault], planned: Sequence[tuple[float, str]], repairs: Repairs
) -> list[Done]:
    """Run work to its end, with faults on the way.

    Parameters
    ----------
    work : to run.
    where : part of the run.
    faults : by kind.
    planned : as `plan` gives it.
    repairs : of what faults break.
    """
    draw, start = random.Random(where), time.monotonic()
    waiting, made = list(planned), []
    best, best_at, next_at = -1, start, start
    while not work.finished:
        repairs.run()
        if not work.active:
            work.go_on()
        now, done = time.monotonic(), work.done
        if done > best:
            best, best_at = done, now
        elif now - best_at > STUCK:
            raise ClusterError(f"{where}: {done} of {work.total} finished, and none in {STUCK:.0f} s")
        due = bool(waiting) and now >= next_at and done >= waiting[0][0] * work.total and work.active
        if due and faults[waiting[0][1]]():
            _, kind = waiting.pop(0)
            made.append(Done(where, kind, round(now - start, 1), work.unfinished()))
            print(f"{now - start:6.0f} s  {done}/{work.total}  {kind}", flush=True)
            next_at = time.monotonic() + draw.uniform(0.5, 4)
        elif due:  # nothing to hit: let another kind go first
            waiting[0], other = (waiting[0][0], waiting[-1][1]), waiting[0][1]
            waiting[-1] = (waiting[-1][0], other)
            time.sleep(0.2)
        time.sleep(0.2)
    repairs.run(all_now=True)
    print(f"{time.monotonic() - start:6.0f} s  {where} finished; {len(waiting)} faults not made", flush=True)
    return made


class FaultRun:
    """The run and what it compares with, in a folder from which it goes on after an interruption.

    Parameters
    ----------
    folder : for everything.
    seed : of the faults.
    scale : share of the faults, cells and images.
    """

    def __init__(self, folder: Path, seed: int = 0, scale: float = 1.0) -> None:
        self.folder, self.seed, self.scale = folder, seed, scale
        half = max(1, round(SEEDS / 2 * scale))
        self.grids = {"slurm sweep": Grid((0, half)), "ray sweep": Grid((half, 2 * half))}
        self.all = Grid((0, 2 * half))
        self.shards = max(4, round(SHARDS * scale))
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> bool:
        """Run all parts that aren't finished; print and write the table; whether nothing is wrong."""
        start = time.monotonic()
        images = make_images(self.folder / "images", max(500, round(20_000 * self.scale)))
        self._serial(images)
        print(f"{time.monotonic() - start:6.0f} s  one machine's results are there", flush=True)
        for where in PLAN:
            state = self.folder / f"{where.replace(' ', '-')}.json"
            if not state.exists():
                made, found = self._part(where, images)
                content = {"made": [asdict(one) for one in made], "found": _plain(found)}
                state.write_text(json.dumps(content, indent=1))
        return self.table()

    def table(self) -> bool:
        """Write ``faults.csv`` and print it; whether nothing is lost, doubled or different."""
        rows, wrong = [], False
        for where in PLAN:
            content = json.loads((self.folder / f"{where.replace(' ', '-')}.json").read_text())
            found = content["found"]
            wrong |= bool(found["remarks"])
            for kind in PLAN[where]:
                made = [one for one in content["made"] if one["kind"] == kind]
                counts = [_hit(made, found[name]) for name in ("lost", "doubled", "differing")]
                rows.append([f"{where}: {kind}", len(made), *counts])
            for line in found["remarks"]:
                print(f"{where}: {line}")
        rows.append(["all", *(sum(row[column] for row in rows) for column in range(1, 5))])
        target = HERE / "faults.csv" if self.scale == 1 else self.folder / "faults.csv"
        with target.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["kind", "count", "lost", "doubled", "differing"], *rows])
        print(target.read_text())
        return not wrong

    def _serial(self, images: Path) -> None:
        """Make what all is compared with, by one process after the other, without a fault."""
        place = Place(self.folder / "serial", self.folder / "logs" / "serial", self._environment({}))
        if not (self.folder / "serial.done").exists():
            words = [*self.all.words, f"output_dir={place.output_dir}", f"hydra.sweep.dir={self.serial_sweep}"]
            _must(place, sys.executable, "-m", "fused_clip.run", "-m", *words)
            _must(place, sys.executable, "-m", "experiments.cluster.one_store", str(images), str(self.serial_store))
            (self.folder / "serial.done").touch()

    @property
    def serial_sweep(self) -> Path:
        """Directory of the sweep of one machine."""
        return self.folder / "serial" / "sweep"

    @property
    def serial_store(self) -> Path:
        """Store of the images that one machine embedded."""
        return self.folder / "serial-images" / "store"

    def _part(self, where: str, images: Path) -> tuple[list[Done], Differences]:
        print(f"{where}:", flush=True)
        disk = self.folder / f"disk-{where.replace(' ', '-')}"
        draw, repairs = random.Random(f"{self.seed} {where}"), Repairs()
        planned = plan(where, self.seed, self.scale)
        logs = self.folder / "logs" / where.replace(" ", "-")
        with contextlib.ExitStack() as stack:
            stack.enter_context(small_disk(disk))
            servers, uri, own = {}, "", {}
            if "sweep" in where:
                postgres = stack.enter_context(PostgresServer())
                mlflow = stack.enter_context(MlflowServer(postgres.uri, logs / "mlflow", postgres.environment))
                servers, uri = {"PostgreSQL": postgres, "MLflow": mlflow}, mlflow.uri
            shared = SharedFaults(draw, repairs, disk, servers)
            words = [f"tracking.uri={uri}"] if uri else []
            if "slurm" in where:
                slurm = stack.enter_context(SlurmCluster())
                own = slurm.settings
                faults = _slurm_faults(SlurmFaults(slurm, draw, repairs), shared)
                place = Place(disk / "out", logs, self._environment(own))
                work: Workload = (
                    SlurmSweep(place, self.grids[where], slurm, [*words, "hydra.launcher.cells_per_task=8"])
                    if uri
                    else SlurmShards(place, images, self.shards, slurm)
                )
            else:
                ray = stack.enter_context(RayCluster())
                place = Place(disk / "out", logs, self._environment(ray.settings))
                work = (
                    RaySweep(place, self.grids[where], ray.address, [*words, "hydra.launcher.cells_per_task=8"])
                    if uri
                    else RayShards(place, images, self.shards, ray.address)
                )
                faults = _ray_faults(RayFaults(ray, draw, repairs, lambda: work.process), shared)  # type: ignore[attr-defined]
            made = drive(work, where, faults, planned, repairs)
            if not uri:
                return made, comparison.compare_stores(self.serial_store, place.output_dir / "store")
            cells = self.grids[where].cells
            found = comparison.compare_sweeps(self.serial_sweep, work.sweeps, cells)  # type: ignore[attr-defined]
            return made, found + comparison.compare_runs(uri, self.serial_sweep, cells)

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        import os

        return {**os.environ, "OMP_NUM_THREADS": "1", **own}


def _must(place: Place, *words: str) -> None:
    if place.call(*words).returncode:
        raise ClusterError(f"{' '.join(words[:4])} failed: {place.last}")


def _slurm_faults(slurm: SlurmFaults, shared: SharedFaults) -> dict[str, Fault]:
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


def _ray_faults(ray: RayFaults, shared: SharedFaults) -> dict[str, Fault]:
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


@contextmanager
def small_disk(at: Path, size: str = DISK) -> Iterator[None]:
    """Mount a small file system in memory.

    Parameters
    ----------
    at : folder; made if it is missing.
    size : of it, as of ``mount``.
    """
    at.mkdir(parents=True, exist_ok=True)
    if at.is_mount():
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # noqa: S603, S607
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], check=True)  # noqa: S603, S607
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=False)  # noqa: S603, S607


def _plain(found: Differences) -> dict[str, list[str]]:
    sets = {name: sorted(map(str, getattr(found, name))) for name in ("lost", "doubled", "differing")}
    return {**sets, "remarks": found.remarks}


def _hit(made: Sequence[Mapping[str, object]], wrong: Sequence[str]) -> int:
    """How many of the wrong cells a kind of fault may have hit: all, since a fault reaches more than one."""
    return len(wrong) if made else 0
