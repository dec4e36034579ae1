"""A real MLflow server on loopback, which keeps runs in a database and artifacts in a folder of its own.

``with MlflowServer(backend, folder) as server:`` gives ``server.uri``, for ``tracking.uri``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Self
from urllib.request import urlopen

from experiments.cluster.daemons import Daemon, free_ports, wait_until


@dataclass
class MlflowServer:
    """An ``mlflow server`` that starts with the block and is gone with it.

    Parameters
    ----------
    backend : address of the database, e.g. `PostgresServer.uri`.
    folder : for its artifacts and its log; made if it is missing.
    environment : further variables, e.g. `PostgresServer.environment`.
    workers : processes that answer.
    """

    backend: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: int = 2

    def __enter__(self) -> Self:
        """Start it."""
        self.folder = self.folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", str(self.workers), "--backend-store-uri", self.backend, "--serve-artifacts"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._daemon = Daemon(words, self.folder / "server.log", {**os.environ, **quiet, **self.environment})
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, also after it was killed, and wait until it answers."""

        def answers() -> bool:
            if not self._daemon.alive:
                self._daemon.start()
            try:
                with urlopen(f"{self.uri}/health", timeout=5) as page:  # noqa: S310 - http alone
                    return int(page.status) == 200
            except (OSError, HTTPException):
                return False

        wait_until(answers, f"MLflow's server ({self.folder / 'server.log'})", 120.0, pause=0.3)

    def stop(self) -> None:
        """Let it end what it is answering, then end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL, and the processes that answer for it."""
        self._signal(signal.SIGKILL)

    def _signal(self, sign: signal.Signals) -> None:
        process = self._daemon.process
        if process is None:
            return
        for one in (sign, signal.SIGKILL):  # of the whole group, which is its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, one)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
