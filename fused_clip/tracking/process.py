"""Whose a run is: a process, named so that it can be told later whether it still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ValidationError

_PROC = Path("/proc")


class Process(BaseModel):
    """A process and where it runs; what the system does not tell is empty.

    Parameters
    ----------
    host : name of the machine, and its id.
    boot : id of the machine's start.
    namespace : of the process ids, which containers have of their own.
    pid : process id.
    start : when the process started, in clock ticks since the machine did.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    start: str


def this_process() -> str:
    """Name this process, as JSON."""
    pid = os.getpid()
    return Process(**_place(), pid=pid, start=_start(pid) or "").model_dump_json()


def is_gone(name: str) -> bool:
    """Whether the named process has ended for certain.

    Never so for a process of another machine or container, or a name that can't be read.
    """
    try:
        process = Process.model_validate_json(name)
    except ValidationError:
        return False
    here = _place()
    if process.host != here["host"]:
        return False
    if process.boot != here["boot"]:
        return True
    return process.namespace == here["namespace"] and _start(process.pid) != process.start


@lru_cache(maxsize=1)
def _place() -> dict[str, str]:
    machine = hashlib.sha256(_text(Path("/etc/machine-id")).encode()).hexdigest()[
        :12
    ]  # the id is confidential
    namespace = _PROC / "self" / "ns" / "pid"
    return {
        "host": f"{socket.gethostname()} {machine}",
        "boot": _text(_PROC / "sys" / "kernel" / "random" / "boot_id"),
        "namespace": str(namespace.readlink()) if namespace.is_symlink() else "",
    }


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _start(pid: int) -> str | None:
    """When a process started; empty where the system does not tell, None if it is not there or dead."""
    if not (_PROC / "self" / "stat").exists():
        return "" if _exists(pid) else None
    try:
        # The name of the program, in parentheses, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = fields[0], fields[19]
    return None if state in "XZ" else start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
