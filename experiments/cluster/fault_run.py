"""200 random faults over a sweep of 680 cells and 20,000 images, on Slurm and on Ray.

``python -m experiments.cluster --full`` runs it. It goes on until everything is finished, as a user does: the
same command again, or ``fused-clip-sweep resubmit``. Then it compares with what one machine makes.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.cluster import comparison
from experiments.cluster.comparison import Differences
from experiments.cluster.daemons import ClusterError
from experiments.cluster.fault_plan import FULL, Size, ray_faults, slurm_faults
from experiments.cluster.images import make_images
from experiments.cluster.kinds_of_faults import Fault, RayFaults, Repairs, Server, SharedFaults, SlurmFaults
from experiments.cluster.mlflow_server import MlflowServer
from experiments.cluster.postgres_server import PostgresServer
from experiments.cluster.ray_cluster import RayCluster
from experiments.cluster.slurm_cluster import SlurmCluster
from experiments.cluster.small_disk import small_disk
from experiments.cluster.workloads import Place, RayShards, RaySweep, SlurmShards, SlurmSweep, Workload

HERE = Path(__file__).parent
WRONG = ("lost", "doubled", "differing")
STUCK = 900.0  # seconds without a finished cell or shard after which it's given up


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


def drive(
    work: Workload,
    where: str,
    faults: Mapping[str, Fault],
    planned: Sequence[tuple[float, str]],
    repairs: Repairs,
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
    best, best_at, next_at, again_at = -1, start, start, start
    while not work.finished:
        repairs.run()
        if not work.active and time.monotonic() >= again_at:
            work.go_on()
            again_at = time.monotonic() + 3
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
    size : of the run.
    """

    def __init__(self, folder: Path, size: Size = FULL, seed: int = 0) -> None:
        self.folder, self.size, self.seed = folder, size, seed
        half = size.seeds // 2
        self.grids = {"slurm sweep": size.grid(0, half), "ray sweep": size.grid(half, size.seeds)}
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, parts: Sequence[str]) -> bool:
        """Run all parts that aren't finished; print and write the table; whether nothing is wrong.

        Parameters
        ----------
        parts : names of those to run.
        """
        for where in parts:
            self.prepare(where)
            if not self._state(where).exists():
                made, found = self._part(where)
                content = {"made": [asdict(one) for one in made], "found": _plain(found)}
                self._state(where).write_text(json.dumps(content, indent=1))
        return self.table(parts)

    def table(self, parts: Sequence[str]) -> bool:
        """Write ``faults.csv`` and print it; whether nothing is lost, doubled or different.

        Parameters
        ----------
        parts : as for `run`.
        """
        rows, totals = [], [0, 0, 0, 0]
        for where in parts:
            content = json.loads(self._state(where).read_text())
            found, made = content["found"], content["made"]
            totals = [
                a + b for a, b in zip(totals, [len(made), *(len(found[name]) for name in WRONG)], strict=True)
            ]
            for kind in self.size.plan[where]:
                own = [one for one in made if one["kind"] == kind]
                hit = {victim for one in own for victim in one["victims"]}
                rows.append(
                    [f"{where}: {kind}", len(own), *(self._hit(where, hit, found[name]) for name in WRONG)]
                )
            print("".join(f"{where}: {line}\n" for line in found["remarks"]), end="")
        target = (HERE if self.size == FULL and set(parts) == set(FULL.plan) else self.folder) / "faults.csv"
        with target.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [["kind", "count", *WRONG], *rows, ["all", *totals]]
            )
        print(target.read_text())
        missing = sum(sum(self.size.plan[where].values()) for where in parts) - totals[0]
        if missing:
            print(f"{missing} faults were not made")
        return not missing and not any(totals[1:])

    def _hit(self, where: str, hit: Collection[str], wrong: Sequence[Sequence[str]]) -> int:
        """Number of wrong cells that a kind of fault may have hit; of shards, all."""
        if where not in self.grids:
            return len(wrong)
        numbers = {cell: str(number) for number, cell in enumerate(self.grids[where].cells)}
        return sum(numbers.get(tuple(cell), "") in hit for cell in wrong)

    def _state(self, where: str) -> Path:
        return self.folder / f"{where.replace(' ', '-')}.json"

    def prepare(self, where: str) -> None:
        """Make what a part is compared with, by one process after the other, without a fault.

        Parameters
        ----------
        where : part of the run.
        """
        start, folder = time.monotonic(), self._serial(where)
        done = folder / "done"
        if done.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        place = Place(folder / "outputs", folder / "logs", _environment({}))
        if where in self.grids:
            words = [*self.grids[where].words, f"output_dir={place.output_dir}"]
            _must(
                place,
                sys.executable,
                "-m",
                "fused_clip.run",
                "-m",
                *words,
                f"hydra.sweep.dir={folder / 'sweep'}",
            )
        else:
            own = [str(self._images()), str(folder / "store")]
            _must(place, sys.executable, "-m", "experiments.cluster.one_store", *own)
        done.touch()
        print(f"{time.monotonic() - start:6.0f} s  {where}: one machine's results are there", flush=True)

    def _serial(self, where: str) -> Path:
        """Folder of one machine's results, of which both kinds of shards have one."""
        return self.folder / "serial" / (where.replace(" ", "-") if where in self.grids else "images")

    def _images(self) -> Path:
        return make_images(self.folder / "images", self.size.images)

    def _part(self, where: str) -> tuple[list[Done], Differences]:
        """Run a part to its end, with its faults, and compare."""
        print(f"{where}:", flush=True)
        name = where.replace(" ", "-")
        draw, repairs, logs = random.Random(f"{self.seed} {where}"), Repairs(), self.folder / "logs" / name
        with contextlib.ExitStack() as stack:
            disk = stack.enter_context(small_disk(self.folder / f"disk-{name}"))
            servers: dict[str, Server] = {}
            words: list[str] = []
            if "sweep" in where:
                postgres = stack.enter_context(PostgresServer())
                mlflow = stack.enter_context(
                    MlflowServer(postgres.uri, logs / "mlflow", postgres.environment)
                )
                servers = {"PostgreSQL": postgres, "MLflow": mlflow}
                words = [
                    f"tracking.uri={mlflow.uri}",
                    f"hydra.launcher.cells_per_task={self.size.cells_a_task}",
                ]
            shared = SharedFaults(draw, repairs, disk, servers)
            cluster: SlurmCluster | RayCluster = SlurmCluster() if "slurm" in where else RayCluster()
            stack.enter_context(cluster)
            place = Place(disk / "out", logs, _environment(cluster.settings))
            work = self._workload(where, place, cluster, words)
            if isinstance(cluster, SlurmCluster):
                faults = slurm_faults(SlurmFaults(cluster, draw, repairs), shared)
            else:
                faults = ray_faults(RayFaults(cluster, draw, repairs, lambda: work.process), shared)
            made = drive(work, where, faults, self.size.faults(where, self.seed), repairs)
            return made, self._compared(where, work, servers)

    def _workload(
        self, where: str, place: Place, cluster: SlurmCluster | RayCluster, words: Sequence[str]
    ) -> Workload:
        if isinstance(cluster, SlurmCluster):
            if where in self.grids:
                return SlurmSweep(place, self.grids[where], cluster, words)
            return SlurmShards(place, self._images(), self.size.shards, cluster, words)
        if where in self.grids:
            return RaySweep(place, self.grids[where], cluster.address, words)
        return RayShards(place, self._images(), self.size.shards, cluster.address, words)

    def _compared(self, where: str, work: Workload, servers: Mapping[str, Server]) -> Differences:
        output_dir = work.place.output_dir
        if where not in self.grids:
            return comparison.compare_stores(self._serial(where) / "store", output_dir / "store")
        right = self._serial(where) / "sweep"
        cells, uri = self.grids[where].cells, str(getattr(servers["MLflow"], "uri", ""))
        found = comparison.compare_sweeps(right, work.sweeps, cells)
        return found + comparison.compare_runs(uri, right, cells)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **own}


def _must(place: Place, *words: str) -> None:
    if place.call(*words).returncode:
        raise ClusterError(f"{' '.join(words[:4])} failed: {place.last}")


def _plain(found: Differences) -> dict[str, list[Any]]:
    return {**{name: sorted(getattr(found, name)) for name in WRONG}, "remarks": found.remarks}
