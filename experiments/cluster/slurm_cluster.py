"""A real Slurm on loopback: munged, slurmctld and two slurmd, as root and without systemd.

``with SlurmCluster() as slurm:`` gives ``slurm.environment`` for sbatch and its like. To try by hand:
``python -m experiments.cluster.slurm_cluster`` starts one, prints its environment and waits for Ctrl-C.
"""

# The programs are those of this file.
# ruff: noqa: S603

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import psutil

from experiments.cluster.daemons import ClusterError, Daemon, free_ports, install, wait_until

PACKAGES = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "munged": "munge",
    "setpriv": "util-linux",
}
NODES = ("node1", "node2")
PARTITIONS = ("cpu", "short")  # the second ends every task after a minute
MAX_ARRAY = 200
CONFIG = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0,requeue_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
MaxArraySize={max_array}
MaxJobCount=20000
MinJobAge=10
InactiveLimit=0
KillWait={kill_wait}
OverTimeLimit=0
SlurmctldTimeout=10
SlurmdTimeout={slurmd_timeout}
MessageTimeout=10
TCPTimeout=2
PropagateResourceLimits=NONE
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=short Nodes=ALL MaxTime=1 State=UP OverSubscribe=NO
"""


@dataclass(frozen=True)
class Task:
    """A task of an array, as Slurm's queue shows it.

    Parameters
    ----------
    job : its id, ``12_3``, or ``12`` of a job without an array.
    state : as Slurm says it: ``RUNNING``, ``PENDING``, ...
    node : where it runs, or empty.
    """

    job: str
    state: str
    node: str


class SlurmCluster:
    """Two nodes of one CPU each; both are this machine.

    Parameters
    ----------
    folder : for its files; a temporary one if none is given.
    max_array : MaxArraySize; indices of an array stay below it.
    slurmd_timeout : seconds without an answer after which a node is down and its tasks are requeued.
    kill_wait : seconds between SIGTERM and SIGKILL of a cancelled task.
    cpus : of each node.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        max_array: int = MAX_ARRAY,
        slurmd_timeout: int = 10,
        kill_wait: int = 5,
        cpus: int = 1,
    ) -> None:
        self._made = folder is None
        self.folder = Path(mkdtemp(prefix="slurm-")) if folder is None else folder
        self.name = f"try{secrets.token_hex(4)}"
        self._munge = Daemon(self._munged(), self.folder / "munged.out")
        ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} "
            "RealMemory=4000 State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        self._config = CONFIG.format(
            name=self.name,
            host=host,
            port=ports[0],
            folder=self.folder,
            max_array=max_array,
            slurmd_timeout=slurmd_timeout,
            kill_wait=kill_wait,
            nodes=nodes,
        )
        path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/bin"
        self.settings = {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}
        own = {**os.environ, **self.settings}
        self._controller = Daemon(["slurmctld", "-D", "-i"], self.folder / "slurmctld.out", own)
        self._nodes = {
            node: Daemon(["slurmd", "-D", "-N", node], self.folder / f"{node}.out", own) for node in NODES
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment for clients: this process's, with SLURM_CONF and a PATH that has Slurm."""
        return {**os.environ, **self.settings}

    def __enter__(self) -> Self:
        install(PACKAGES)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(self._config)
        try:
            self._munge.start()
            wait_until((self.folder / "munge.socket").exists, "munged")
            self._controller.start()
            for node in NODES:
                self._nodes[node].start()
            self.wait_for_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all daemons and what they left running; remove a temporary folder."""
        for daemon in (self._controller, *self._nodes.values()):
            daemon.kill()
        for process in self._own_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._munge.stop()
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *words: str, check: bool = True) -> str:
        """Run a client; return what it prints.

        Parameters
        ----------
        words : of its command line.
        check : whether a failure is an error.

        Raises
        ------
        ClusterError
            If it fails.
        """
        try:
            done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{' '.join(words)}: no answer within 60 s") from error
        if check and done.returncode:
            raise ClusterError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def tasks(self) -> list[Task]:
        """List the tasks that are pending, running or ending; each pending one of an array on its own."""
        words = ("squeue", "--noheader", "--array", "--format", "%i|%T|%N")
        try:
            lines = self.call(*words).splitlines()
        except ClusterError:  # slurmctld is busy on a busy machine
            time.sleep(2)
            lines = self.call(*words).splitlines()
        return [Task(*line.strip().split("|")) for line in lines]

    def running(self) -> list[str]:
        """List ids of the tasks that run."""
        return [task.job for task in self.tasks() if task.state == "RUNNING"]

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until no task is pending or running.

        Parameters
        ----------
        seconds : to wait at most.
        """
        wait_until(lambda: not self.tasks(), "Slurm's queue is empty", seconds, pause=0.5)

    def wait_for_nodes(self, seconds: float = 60.0) -> None:
        """Wait until both nodes take tasks.

        Parameters
        ----------
        seconds : to wait at most.
        """
        wait_until(
            lambda: set(self.node_states().values()) <= {"idle", "mix", "alloc"}, "nodes", seconds, 0.3
        )

    def node_states(self) -> dict[str, str]:
        """Say the state of each node: ``idle``, ``alloc``, ``down``, ..., ``*`` if it doesn't answer."""
        found = self.call("sinfo", "--noheader", "-N", "--format", "%N|%t", check=False).split()
        return dict(line.split("|", 1) for line in found) or dict.fromkeys(NODES, "unknown")

    def processes(self, job: str) -> list[psutil.Process]:
        """Find the processes of a running task: its shell, Python, and what they started.

        Parameters
        ----------
        job : id of the task.
        """
        return [process for process, own in self._in_tasks() if _task_id(own) == job]

    def kill_task(self, job: str) -> int:
        """Kill a task's processes with SIGKILL; return how many there were.

        Parameters
        ----------
        job : id of the task.
        """
        found = self.processes(job)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return len(found)

    def kill_node(self, node: str, *, tasks: bool = False) -> None:
        """Kill a slurmd with SIGKILL.

        Parameters
        ----------
        node : its name.
        tasks : whether its tasks die as well, as when the machine loses power; else they run on.
        """
        self._nodes[node].kill()
        if tasks:
            for process in self._own_processes(node):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def start_node(self, node: str) -> None:
        """Start a slurmd again.

        Parameters
        ----------
        node : its name.
        """
        self._nodes[node].start()

    def kill_controller(self) -> None:
        """Kill slurmctld with SIGKILL; tasks run on."""
        self._controller.kill()

    def start_controller(self) -> None:
        """Start slurmctld again, with what it knew."""
        self._controller.start()
        wait_until(lambda: "unknown" not in self.node_states().values(), "slurmctld")

    def cancel(self, *jobs: str) -> None:
        """Cancel tasks: SIGTERM, and SIGKILL after a while.

        Parameters
        ----------
        jobs : their ids.
        """
        self.call("scancel", *jobs)

    def requeue(self, job: str) -> None:
        """Stop a task and put it into the queue again.

        Parameters
        ----------
        job : id of the task.
        """
        self.call("scontrol", "requeue", job)

    def end_by_time(self, job: str) -> None:
        """Make a running task reach its time limit now.

        Parameters
        ----------
        job : id of the task.
        """
        self.call("scontrol", "update", f"JobId={job}", "EndTime=now+2")

    def _in_tasks(self) -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.environ()
                if own.get("SLURM_CLUSTER_NAME") == self.name and "SLURM_JOB_ID" in own:
                    yield process, own

    def _own_processes(self, node: str = "") -> list[psutil.Process]:
        """Tasks, and the slurmstepd above them, of one node or of all."""
        found = [process for process, own in self._in_tasks() if node in ("", own.get("SLURMD_NODENAME"))]
        ids = {process.pid for process in found}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "slurmstepd" and ids & {child.pid for child in process.children()}:
                    found.append(process)
        return found

    def _munged(self) -> Sequence[str]:
        at = self.folder
        return [
            "munged",
            "--foreground",
            "--force",
            f"--socket={at}/munge.socket",
            f"--key-file={at}/munge.key",
            f"--pid-file={at}/munged.pid",
            f"--seed-file={at}/munged.seed",
            f"--log-file={at}/munged.log",
        ]


def _task_id(environment: Mapping[str, str]) -> str:
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment["SLURM_JOB_ID"]


def main() -> None:
    """Start a cluster and wait."""
    with SlurmCluster() as slurm:
        print("\n".join(f"export {key}={value}" for key, value in slurm.settings.items()))
        print(f"# {json.dumps(slurm.node_states())}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
