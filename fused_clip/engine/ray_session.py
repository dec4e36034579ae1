"""A connection to Ray by a process of its own, and what keeps Ray from starting in one line."""

import contextlib
import json
import os
import re
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from fused_clip.engine.engine_options import OPTIONS
from fused_clip.support.errors import InputError

# Seconds until Ray must be there. At ray:// the head starts a server for each client: it gives that server
# 30 seconds, and `fused_clip.engine.ray_driver` asks twice.
_PATIENCE = {"local": 120.0, "client": 120.0, "cluster": 45.0}
_SECONDS_TO_END = 25.0  # more than `fused_clip.engine.ray_driver` takes
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); sys.argv[1:] = []; "
    "from fused_clip.engine.ray_driver import main; main()"
)
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
_Nodes = list[dict[str, float]]


@contextmanager
def session(request: Mapping[str, Any]) -> Iterator[tuple[_Nodes, Iterator[tuple[int, str]]]]:
    """Start the process that talks to Ray; give the nodes' resources, and numbers with errors as they end.

    The process ends with the block, and with it what runs on Ray.

    Parameters
    ----------
    request : as `fused_clip.engine.ray_driver` reads it.

    Raises
    ------
    InputError
        If there is no Ray, or one that this machine can't use.
    """
    place = str(request["address"])
    paths = json.dumps([os.path.abspath(path) for path in sys.path])
    with tempfile.TemporaryFile() as said:
        driver = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _PROGRAM, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=_environment(request),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends that one
        )
        out = cast("IO[bytes]", driver.stdout)
        try:
            _send(driver, request)
            first = out.readline() if select.select([out], [], [], _patience(place))[0] else b""
            if not first.endswith(b"\n"):
                waits = driver.poll() is None and not select.select([out], [], [], 0)[0]
                said.seek(0)
                raise refused(place, said.read().decode("utf-8", "replace"), waits=waits)
            yield json.loads(first)["nodes"], _results(out)
        finally:
            _end(driver)


def _patience(place: str) -> float:
    if place == "local":
        return _PATIENCE["local"]
    return _PATIENCE["client" if place.startswith("ray://") else "cluster"]


def _send(driver: "subprocess.Popen[bytes]", request: Mapping[str, Any]) -> None:
    put = cast("IO[bytes]", driver.stdin)
    with contextlib.suppress(BrokenPipeError):  # it ended, and said why
        put.write(json.dumps(request).encode() + b"\n")
        put.flush()


def _results(out: IO[bytes]) -> Iterator[tuple[int, str]]:
    for line in out:
        if line.endswith(b"\n") and "number" in (content := json.loads(line)):
            yield content["number"], content["error"]


def _end(driver: "subprocess.Popen[bytes]") -> None:
    """Let the driver cancel what runs, and disconnect; kill it if it does not."""
    try:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            cast("IO[bytes]", driver.stdin).close()
            driver.wait(_SECONDS_TO_END)
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()
        cast("IO[bytes]", driver.stdout).close()


def _environment(request: Mapping[str, Any]) -> dict[str, str]:
    """Environment of the driver, and of the nodes if this machine is the only one."""
    own = {**os.environ, "RAY_task_oom_retries": str(request["retries"])}  # Ray's own is without end
    if request["address"] == "local":
        own |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        own.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
        own.pop("RAY_ADDRESS", None)
    else:  # Ray's own is 20 tries, a second each, even where the cluster has answered that the token is wrong
        own.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")
    return own


def refused(place: str, text: str, *, waits: bool = False) -> InputError:
    """Turn what Ray says when it can't start or connect into an error of one line.

    Parameters
    ----------
    place : address, or ``local``.
    text : of its standard error.
    waits : whether it still tries.
    """
    option, versions = f"{OPTIONS}.address", _VERSIONS.findall(text)
    if "ersion mismatch" in text and len(versions) > 1:
        (cluster, its_python), (own, own_python) = versions[:2]
        rule = f"runs Ray {cluster} on Python {its_python}, and this machine Ray {own} on Python {own_python}"
        return InputError(option, rule, place, hint="Install the cluster's versions of both here")
    if "uthentication" in text:
        hint = "Set RAY_AUTH_TOKEN, or copy ~/.ray/auth_token from its head"
        return InputError(option, "the cluster asks for a token, and has another", place, hint=hint)
    if "Could not find any running Ray instance" in text:
        hint = "Start one by 'ray start --head', or give host:port"
        return InputError(option, "no Ray cluster runs on this machine", place, hint=hint)
    reason = "it does not answer" if waits else _last(text) or "no reason given"
    if place == "local":
        return InputError("Ray", f"can't be started on this machine ({reason})")
    return InputError(option, f"no Ray cluster can be used there ({reason})", place)


def _last(text: str) -> str:
    """Last line of a traceback, which names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
