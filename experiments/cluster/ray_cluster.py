"""A real Ray cluster on this machine: a head and one raylet more, each a node with CPUs of its own.

``with RayCluster() as ray:`` gives ``ray.address`` and ``ray.environment`` for drivers. To try by hand:
``python -m experiments.cluster.ray_cluster`` starts one, prints its environment and waits for Ctrl-C.
"""

# The programs are those of this file.
# ruff: noqa: S603

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import psutil

from experiments.cluster.daemons import (
    CannotInstallError,
    ClusterError,
    Daemon,
    free_ports,
    install,
    wait_until,
)

HEAD = "head"
NODES = (HEAD, "node1")
OBJECT_STORE = 80 * 2**20  # bytes; the least that Ray takes is 75 MiB, and /dev/shm may be small
_MARK = "FUSED_CLIP_TRY_OF_RAY"  # each process of a node has it in its environment
_LOST = {  # seconds until a node that is gone counts as dead, and its tasks start again elsewhere
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
_RAY = "from ray.scripts.scripts import main; main()"
_NO_TASKS = ("ray::IDLE", "ray::_StatsActor")  # the second is Ray Data's own, and stays
_STARTED = "Ray runtime started"
_NODES = """
import json, sys, ray
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
print("NODES " + json.dumps({node["NodeID"]: node["Alive"] for node in ray.nodes()}))
"""


class RayCluster:
    """Nodes of a Ray cluster, which are all this machine; drivers and workers share its files.

    Ray listens at all addresses of the machine, and asks for a token.

    Parameters
    ----------
    folder : for its files; a temporary one if none is given. Its path must be short, as sockets lie in it.
    cpus : of each node.
    nodes : names of the nodes; the first has the head.
    client : whether the head also answers at ``ray://``, which needs ``ray[client]``.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        cpus: int = 1,
        nodes: Sequence[str] = NODES,
        client: bool = False,
    ) -> None:
        self._made = folder is None
        self.folder = Path(mkdtemp(prefix="ray-")) if folder is None else folder
        self._cpus, self._client = cpus, client
        self._port, self._client_port = free_ports(2)
        self._name = secrets.token_hex(4)
        self._nodes = {name: self._daemon(name) for name in nodes}
        self.settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

    @property
    def address(self) -> str:
        """Address for drivers on this machine."""
        return f"127.0.0.1:{self._port}"

    @property
    def client_address(self) -> str:
        """Address for drivers elsewhere, ``ray://``."""
        return f"ray://127.0.0.1:{self._client_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment for drivers: this process's, with the token."""
        return {**os.environ, **self.settings}

    def __enter__(self) -> Self:
        install({"setpriv": "util-linux"})
        if importlib.util.find_spec("ray") is None:
            raise CannotInstallError("needs Ray: pip install 'fused_clip[ray]'")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            for name in self._nodes:
                self.start_node(name)
            if self._client:
                wait_until(self._client_answers, "ray://")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all nodes and what runs on them; remove a temporary folder."""
        for name in reversed(self._nodes):
            self.kill_node(name)
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start_node(self, name: str) -> None:
        """Start a node, also one that was killed, or a new one; wait until it takes tasks.

        Parameters
        ----------
        name : of the node.
        """
        node = self._nodes.setdefault(name, self._daemon(name))
        node.log.unlink(missing_ok=True)
        node.environment = {**self.environment, **self._own(name)}
        node.start()
        wait_until(lambda: self._has_started(node), f"{name} ({node.log})", seconds=90.0)

    def kill_node(self, name: str) -> None:
        """Kill a node with SIGKILL: its raylet and all tasks on it, as when the machine loses power.

        Parameters
        ----------
        name : of the node.
        """
        found = self.processes(name)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)
        self._nodes[name].kill()

    def kill_raylet(self, name: str) -> None:
        """Kill a node's raylet with SIGKILL; its workers notice and end.

        Parameters
        ----------
        name : of the node.
        """
        for process in self.processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "raylet":
                    process.kill()

    def kill_task(self, name: str) -> int:
        """Kill the workers of a node that run a task, with SIGKILL; return how many there were.

        Parameters
        ----------
        name : of the node.
        """
        found = self.workers(name)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return len(found)

    def workers(self, name: str) -> list[psutil.Process]:
        """Find the processes of a node that run a task; others have other titles.

        Parameters
        ----------
        name : of the node.
        """
        found = []
        for process in self.processes(name):
            with contextlib.suppress(psutil.Error):
                title = process.cmdline()[0]
                if title.startswith("ray::") and not title.startswith(_NO_TASKS):
                    found.append(process)
        return found

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Find the processes of a node, or of all.

        Parameters
        ----------
        name : of the node; empty for all.
        """
        return [process for process, own in self._all() if name in ("", own)]

    def alive(self) -> int:
        """Count the nodes that the cluster takes for alive, as a driver sees it."""
        words = [sys.executable, "-c", _NODES, self.address]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        found = [line for line in done.stdout.splitlines() if line.startswith("NODES ")]
        if not found:
            raise ClusterError(f"the cluster doesn't answer: {done.stderr.strip()[-500:]}")
        return sum(json.loads(found[0].removeprefix("NODES ")).values())

    def _all(self) -> Iterator[tuple[psutil.Process, str]]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                cluster, _, name = process.environ().get(_MARK, "").partition(" ")
                if cluster == self._name:
                    yield process, name

    def _own(self, name: str) -> Mapping[str, str]:
        """Environment of a node's processes, and so of its workers."""
        return {
            _MARK: f"{self._name} {name}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }

    def _daemon(self, name: str) -> Daemon:
        words = [
            "start",
            "--block",
            f"--num-cpus={self._cpus}",
            f"--object-store-memory={OBJECT_STORE}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--dashboard-agent-listen-port=0",
            "--include-log-monitor=false",
            f"--temp-dir={self.folder / name}",
        ]
        if name == HEAD:
            words += ["--head", "--include-dashboard=false", "--no-monitor", f"--port={self._port}"]
            words += [f"--system-config={json.dumps(_LOST)}"]
            words += [f"--ray-client-server-port={self._client_port}"] if self._client else []
        else:
            words += [f"--address={self.address}"]
        return Daemon([sys.executable, "-c", _RAY, *words], self.folder / f"{name}.log")

    def _has_started(self, node: Daemon) -> bool:
        text = node.log.read_text("utf-8", "replace")
        if not node.alive:
            raise ClusterError(f"Ray doesn't start: {text.strip()[-500:]}")
        return _STARTED in text

    def _client_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._client_port), 1):
            return True
        return False


def main() -> None:
    """Start a cluster and wait."""
    with RayCluster() as ray:
        print("\n".join(f"export {key}={value}" for key, value in ray.settings.items()))
        print(f"# {ray.address}, {ray.alive()} nodes; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
