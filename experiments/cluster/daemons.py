"""Daemons in the foreground, each with a log, which end with the process that started them."""

# The programs are those of this folder's files.
# ruff: noqa: S603, S607

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 60.0  # until a daemon must answer, on a busy machine
SECONDS_TO_END = 15.0


class ClusterError(Exception):
    """A daemon that doesn't start, or a state that isn't reached in time."""


class CannotInstallError(ClusterError):
    """What a cluster needs isn't on this machine, and can't be installed."""


@dataclass
class Daemon:
    """A program that runs until it's stopped or killed, and can be started again.

    Parameters
    ----------
    words : of its command line.
    log : file that its output is appended to.
    environment : of the process; empty for this process's.
    """

    words: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, as a process that the kernel kills when this one ends, however it ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment) or None,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill it with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; kill it if it doesn't."""
        self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(sign)
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_until(true: Callable[[], bool], what: str, seconds: float = SECONDS, pause: float = 0.1) -> None:
    """Wait until something is true.

    Parameters
    ----------
    true : says whether it is.
    what : is waited for, for the error.
    seconds : to wait at most.
    pause : between two looks, in seconds.

    Raises
    ------
    ClusterError
        If it isn't true in time.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def free_ports(count: int) -> list[int]:
    """Find ports on loopback that nothing listens at.

    Parameters
    ----------
    count : of ports.
    """
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def install(programs: Mapping[str, str], where: Sequence[str] = ()) -> None:
    """Install the Debian packages of programs that aren't there.

    Parameters
    ----------
    programs : name of each program, and the package that has it.
    where : folders to look in besides PATH.

    Raises
    ------
    CannotInstallError
        If a program is missing, and this isn't root on Debian or apt has no network.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", *where])
    missing = sorted({package for name, package in programs.items() if not shutil.which(name, path=path)})
    if not missing:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise CannotInstallError(f"needs the Debian packages {' '.join(missing)}, and root to install them")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (
        ["apt-get", "update"],
        ["apt-get", "install", "--yes", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(words, env=quiet, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise CannotInstallError(f"apt-get can't install {' '.join(missing)}: {last}")
