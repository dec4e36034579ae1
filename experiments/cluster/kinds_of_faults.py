"""Faults of Slurm, Ray, disks and servers, each with what puts it right again."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from experiments.cluster.daemons import ClusterError
from experiments.cluster.ray_cluster import HEAD, RayCluster
from experiments.cluster.slurm_cluster import NODES, SlurmCluster

Fault = Callable[[], bool]  # whether it was done; if not, there was nothing that it could hit


class Repairs:
    """What has to be put right, each at its time."""

    def __init__(self) -> None:
        self._due: list[tuple[float, str, Callable[[], bool | None]]] = []

    def add(self, name: str, seconds: float, repair: Callable[[], bool | None]) -> None:
        """Put something right later.

        Parameters
        ----------
        name : of what is out of order.
        seconds : until it's tried.
        repair : gives False to be tried again.
        """
        self._due.append((time.monotonic() + seconds, name, repair))

    def out_of_order(self, name: str) -> bool:
        """Whether something isn't repaired yet.

        Parameters
        ----------
        name : of it.
        """
        return any(own == name for _, own, _ in self._due)

    def run(self, *, all_now: bool = False) -> None:
        """Do the repairs whose time has come.

        Parameters
        ----------
        all_now : whether to do all of them.
        """
        due = [one for one in self._due if all_now or one[0] <= time.monotonic()]
        for one in due:
            self._due.remove(one)
            if one[2]() is False:
                self._due.append(one)


class Server(Protocol):
    """A server that can be killed and started again."""

    def kill(self) -> None:
        """Kill it."""

    def start(self) -> None:
        """Start it again."""


class SharedFaults:
    """Faults of the disk and of servers.

    Parameters
    ----------
    draw : random numbers.
    repairs : of what they break.
    disk : mount point of a small file system.
    servers : by name.
    """

    def __init__(
        self, draw: random.Random, repairs: Repairs, disk: Path, servers: Mapping[str, Server]
    ) -> None:
        self.draw, self.repairs, self.disk, self.servers = draw, repairs, disk, servers

    def full_disk(self) -> bool:
        """Fill the disk; free it after some seconds."""
        filler = self.disk / "filler"
        if self.repairs.out_of_order("disk"):
            return False
        with filler.open("wb") as file:
            state = os.statvfs(self.disk)
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize)
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"0" * 4096)
        self.repairs.add("disk", self.draw.uniform(2, 8), filler.unlink)
        return True

    def server(self, name: str) -> bool:
        """Kill a server; start it after some seconds.

        Parameters
        ----------
        name : of the server.
        """
        if name not in self.servers or any(self.repairs.out_of_order(one) for one in self.servers):
            return False
        self.servers[name].kill()
        self.repairs.add(name, self.draw.uniform(0, 5), self.servers[name].start)
        return True


class SlurmFaults:
    """Faults of Slurm's tasks and daemons.

    Parameters
    ----------
    slurm : the cluster.
    draw : random numbers.
    repairs : of what they break.
    """

    def __init__(self, slurm: SlurmCluster, draw: random.Random, repairs: Repairs) -> None:
        self._slurm, self._draw, self._repairs = slurm, draw, repairs

    def kill_task(self) -> bool:
        """Kill the processes of a task."""
        return self._on_running(lambda job: bool(self._slurm.kill_task(job)))

    def cancel(self) -> bool:
        """Cancel a task that runs or waits."""
        jobs = [task.job for task in self._slurm.tasks() if task.state in ("RUNNING", "PENDING")]
        return bool(jobs) and self._ask(lambda: self._slurm.cancel(self._draw.choice(jobs)))

    def requeue(self) -> bool:
        """Put a running task into the queue again."""
        return self._on_running(lambda job: self._ask(lambda: self._slurm.requeue(job)))

    def time_limit(self) -> bool:
        """Let a running task reach its time limit."""
        return self._on_running(lambda job: self._ask(lambda: self._slurm.end_by_time(job)))

    def kill_slurmd(self) -> bool:
        """Kill a slurmd, whose tasks run on; start it after some seconds."""
        return self._kill_node(tasks=False, until_down=False)

    def lose_slurmd(self) -> bool:
        """Kill a slurmd for so long that its tasks, which run on, are started on another node."""
        return self._kill_node(tasks=False, until_down=True)

    def lose_node(self) -> bool:
        """Kill a slurmd and its tasks; start it when Slurm has noticed."""
        return self._kill_node(tasks=True, until_down=True)

    def kill_controller(self) -> bool:
        """Kill slurmctld; start it after some seconds, in which nobody gets an answer."""
        self._slurm.kill_controller()
        time.sleep(self._draw.uniform(0, 3))
        self._slurm.start_controller()
        return True

    def _kill_node(self, *, tasks: bool, until_down: bool) -> bool:
        if any(self._repairs.out_of_order(node) for node in NODES):
            return False
        busy = [task.node for task in self._slurm.tasks() if task.state == "RUNNING"]
        if not busy:
            return False
        node = self._draw.choice(busy)
        self._slurm.kill_node(node, tasks=tasks)

        def repair() -> bool:
            if until_down and not self._slurm.node_states().get(node, "").startswith("down"):
                return False
            self._slurm.start_node(node)
            return True

        self._repairs.add(node, self._draw.uniform(0, 4), repair)
        return True

    def _on_running(self, fault: Callable[[str], bool]) -> bool:
        jobs = self._slurm.running()
        return bool(jobs) and fault(self._draw.choice(jobs))

    def _ask(self, ask: Callable[[], None]) -> bool:
        try:
            ask()
        except ClusterError:  # it ended in between
            return False
        return True


class RayFaults:
    """Faults of Ray's workers and nodes, and of the command that waits for them.

    Parameters
    ----------
    ray : the cluster.
    draw : random numbers.
    repairs : of what they break.
    driver : gives the process of the command that runs.
    """

    def __init__(
        self,
        ray: RayCluster,
        draw: random.Random,
        repairs: Repairs,
        driver: Callable[[], subprocess.Popen[bytes] | None],
    ) -> None:
        self._ray, self._draw, self._repairs, self._driver = ray, draw, repairs, driver
        self._names = ["node1"]

    def kill_task(self) -> bool:
        """Kill a worker in its task."""
        nodes = [name for name in (HEAD, *self._names[-1:]) if self._ray.workers(name)]
        return bool(nodes) and bool(self._ray.kill_task(self._draw.choice(nodes)))

    def kill_raylet(self) -> bool:
        """Kill the raylet of a node; a new node takes its place after some seconds."""
        if self._repairs.out_of_order("raylet"):
            return False
        old, new = self._names[-1], f"node{len(self._names) + 1}"
        self._ray.kill_raylet(old)
        self._names.append(new)

        def repair() -> None:
            self._ray.kill_node(old)
            self._ray.start_node(new)

        self._repairs.add("raylet", self._draw.uniform(1, 5), repair)
        return True

    def kill_driver(self) -> bool:
        """Kill the command that waits for the tasks."""
        process = self._driver()
        if process is None or process.poll() is not None or not self._ray.workers(HEAD):
            return False
        process.kill()
        process.wait()
        return True
