"""MLflow's server of a model, and requests to it."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from tests.forks import ROOT


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    text: str
    seconds: float

    @property
    def records(self) -> Any:
        return json.loads(self.text, parse_constant=_refuse)["predictions"]

    @property
    def message(self) -> str:
        """The line for people; all of the text where it is no JSON."""
        try:
            return str(json.loads(self.text)["message"])
        except (ValueError, KeyError, TypeError):
            return self.text


class Server:
    """A server in a process of its own, with the most memory that it had."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.most = 0  # bytes of resident memory
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watched)

    def post(
        self, body: bytes | Mapping[str, Any], kind: str | None = "application/json", timeout: float = 120
    ) -> Reply:
        """Send one request to /invocations."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask(
            "POST", "/invocations", content, {} if kind is None else {"Content-Type": kind}, timeout
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        start = time.monotonic()
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read().decode()
            return Reply(answer.status, text, time.monotonic() - start)
        finally:
            connection.close()

    def memory(self) -> int:
        """Resident bytes of the process that answers."""
        try:
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]
            return max(one.memory_info().rss for one in family)
        except psutil.NoSuchProcess:
            return 0

    def wait_until_ready(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.ask("GET", "/ping").status == 200:
                    self._watch.start()
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def end(self) -> None:
        self._ended.set()
        if self._watch.is_alive():
            self._watch.join()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _watched(self) -> None:
        while not self._ended.wait(0.05):
            self.most = max(self.most, self.memory())


@contextmanager
def mlflow_server(uri: str, log: Path, **settings: str) -> Iterator[Server]:
    """``mlflow models serve`` of a model, with variables of its environment."""
    port = free_port()
    words = ["-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--port", str(port)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # of uvicorn
    own = {"PYTHONPATH": str(ROOT), "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **settings}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=file, stderr=file, env={**os.environ, **own}, cwd=log.parent
        )
    server = Server(process, port, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
