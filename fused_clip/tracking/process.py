"""Identify the process that owns a run, and check later whether it still runs."""

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

_MACHINE_ID = Path("/etc/machine-id")
_NAMESPACE = Path("/proc/self/ns/pid")
_TICK = 2.0  # seconds: psutil rounds the machine's start to one
_CLOCK = 86_400.0  # seconds by which a clock that is set right may move the machine's start


class Process(BaseModel):
    """A process and where it runs.

    Parameters
    ----------
    host : name of the machine, and its id where it has one.
    namespace : of the process ids, which containers have of their own; empty where the system has none.
    pid : process id.
    booted : when the machine started, in seconds since 1970.
    started : seconds from then to the start of the process, which no change of the clock moves.
    """

    host: str
    namespace: str
    pid: int
    booted: float
    started: float


def this_process() -> str:
    """Identify this process, as JSON."""
    return _process(os.getpid()).model_dump_json()


def is_gone(name: str) -> bool:
    """Whether the named process has certainly ended.

    False for a process of another machine or container, and for a name that can't be read.

    Parameters
    ----------
    name : as `this_process` gave it.
    """
    try:
        process = Process.model_validate_json(name)
        if (process.host, process.namespace) != _place():
            return False
        found = _process(process.pid)
    except ValidationError:
        return False
    except psutil.NoSuchProcess:
        return True
    same = abs(found.started - process.started) < _TICK and abs(found.booted - process.booted) < _CLOCK
    return not same or psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE


def _process(pid: int) -> Process:
    host, namespace = _place()
    booted = psutil.boot_time()
    started = psutil.Process(pid).create_time() - booted
    return Process(host=host, namespace=namespace, pid=pid, booted=booted, started=started)


@cache
def _place() -> tuple[str, str]:
    machine = _MACHINE_ID.read_bytes() if _MACHINE_ID.is_file() else b""
    host = f"{socket.gethostname()} {hashlib.sha256(machine).hexdigest()[:12]}"  # the id is confidential
    return host, str(_NAMESPACE.readlink()) if _NAMESPACE.is_symlink() else ""
