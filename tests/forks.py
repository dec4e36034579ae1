"""Runs commands of the package in forks of one process that has imported everything: seconds less each.

A test takes the fixture ``commands``, or calls `completed`; ``python -m tests.forks`` is the process that
forks. Each command is a process group of its own, so that what hangs can be ended with all
that it started.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self

from fused_clip.support import plugins

ROOT = Path(__file__).parents[1]
# A run of .6 s: real digits, pixels as embeddings.
QUICK = (
    "dataset=digits",
    "clusterer=kmeans",
    "references.enabled=false",
    "figures.enabled=false",
    "backbone._target_=tests.fakes.PixelBackbone",
    "allow=[tests]",
)
MAINS = {
    "run": "fused_clip.run:main",
    "predict": "fused_clip.predict.__main__:main",
    "report": "fused_clip.report.report_command:main",
    "review": "fused_clip.review.review_command:main",
    "store": "fused_clip.store.__main__:main",
    "sweep": "fused_clip.runner.sweep_command:main",
    "app": "fused_clip.app.__main__:main",
    "embed": "fused_clip.embed.__main__:main",
    "python": "tests.forks:python",
}
_WARM = (
    "fused_clip.pipeline",
    "hydra.main",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "pandas",
    "pyarrow.parquet",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.linear_model",
)
_MORE = (
    "alembic.command",
    "faiss",
    "fused_clip.embed.shard_work",
    "fused_clip.predict.__main__",
    "fused_clip.predict.stream",
    "fused_clip.report.report_command",
    "fused_clip.review.review_command",
    "fused_clip.store.__main__",
    "open_clip",
    "safetensors.numpy",
    "tests.fakes",
)


@dataclass(frozen=True)
class Done:
    """What a command left.

    Its exit code is negative after a signal, and None if it hung and was ended.
    """

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def traceback(self) -> bool:
        """Whether Python or Hydra showed where in the code it failed."""
        return "Traceback (most recent call last)" in self.said or "HYDRA_FULL_ERROR" in self.said


class Commands:
    """The process that forks, from the first command to `close`."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(
        self,
        command: str,
        *words: object,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 120,
        before: Sequence[tuple[str, Sequence[Any]]] = (),
        address_space: int | None = None,
        strace: Sequence[str] = (),
        kill_after: float | None = None,
    ) -> Done:
        """Run a command to its end.

        Parameters
        ----------
        command : a key of `MAINS`.
        words : of its command line.
        cwd : where it runs; the checkout by default.
        env : variables to set, or with None to take away.
        timeout : seconds after which it counts as hung and is ended.
        before : functions ``module:name`` with their arguments, called in the fork before the command.
        address_space : most bytes that it may map beyond what the fork has mapped.
        strace : words for strace, which is attached before the command starts, such as
            ``--inject=write:error=EIO:when=3``.
        kill_after : seconds after which it gets a SIGKILL.
        """
        request = {
            "command": command,
            "words": [str(word) for word in words],
            "cwd": str(cwd or ROOT),
            "env": dict(env or {}),
            "timeout": timeout,
            "before": [[name, list(arguments)] for name, arguments in before],
            "address_space": address_space,
            "strace": list(strace),
            "kill_after": kill_after,
        }
        server = self._started()
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        line = server.stdout.readline()
        if not line:
            raise RuntimeError("the process that forks has ended")
        return Done(**json.loads(line))

    def close(self) -> None:
        """End the process that forks."""
        if self._server and self._server.stdin:
            self._server.stdin.close()
            self._server.wait(60)
            if self._server.stdout:
                self._server.stdout.close()
        self._server = None

    def _started(self) -> subprocess.Popen[str]:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.forks"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._server


@functools.cache
def shared() -> Commands:
    """The commands that all tests of a process share."""
    commands = Commands()
    atexit.register(commands.close)
    return commands


def completed(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of a run, as `subprocess.run` would."""
    done = shared()("run", *words, cwd=cwd, env=env, timeout=600)
    assert done.code is not None, f"it hung: {done.said}"
    return subprocess.CompletedProcess(words, done.code, done.out, done.err)


def warm_up() -> None:
    """Import what a run needs."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for module in _WARM:
        importlib.import_module(module)


def arm(function: str, call: int, when: str) -> None:
    """Make a function kill the process before or after its n-th call."""
    place, _, name = function.rpartition(".")
    home = resolve_name(place)
    real: Callable[..., Any] = getattr(home, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if (calls, when) == (call, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if (calls, when) == (call, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(home, name, deadly)


def python() -> None:
    """Run a program that is given as text, as ``python -c`` does, with the words after it."""
    _, program, *words = sys.argv
    sys.argv[:] = ["-c", *words]
    exec(program, {"__name__": "__main__"})


def add_site(folder: str) -> None:
    """Let the process find packages that are installed into a folder."""
    sys.path.insert(0, folder)
    for cached in (plugins.installed, plugins.plugins):
        cached.cache_clear()


def signal_when(pattern: str, number: int, group: bool) -> None:
    """Send the process a signal once a file is there; a terminal sends it to its whole group.

    Parameters
    ----------
    pattern : absolute, of the file.
    number : of the signal.
    group : whether all processes of its group get it.
    """

    def wait() -> None:
        while not glob(pattern, recursive=True):
            time.sleep(0.05)
        if group:
            os.killpg(os.getpgrp(), number)
        else:
            os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


def _serve() -> None:
    warm_up()
    for name in _MORE:
        resolve_name(name)
    gc.freeze()  # a collection in a fork would copy every page that has an object
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), file=answers, flush=True)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        pid = os.fork()
        if not pid:
            _child(request, out.fileno(), err.fileno())
        tracer = _traced(pid, request["strace"]) if request["strace"] else None
        kill_at = start + request["kill_after"] if request["kill_after"] is not None else None
        code = _wait(pid, start + request["timeout"], kill_at)
        seconds = time.monotonic() - start
        if tracer:
            tracer.wait(30)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return {"code": code, "out": texts[0], "err": texts[1], "seconds": seconds}


def _child(request: dict[str, Any], out: int, err: int) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(request["cwd"])
        for name, value in request["env"].items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for name, arguments in request["before"]:
            resolve_name(name)(*arguments)
        sys.argv = [f"fused_clip.{request['command']}", *request["words"]]
        main = resolve_name(MAINS[request["command"]])
        if request["strace"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        if request["address_space"] is not None:
            mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            most = mapped + request["address_space"]
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        result = main()
        code = result if isinstance(result, int) else 0
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        code = _ended(code)
        os._exit(code)


def _ended(code: int) -> int:
    """What Python does at the end of a process that was not forked."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # joblib ends its processes then
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        return 120
    return code


def _traced(pid: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Attach strace to a stopped process, and let it go on."""
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", os.devnull, *words, "-p", str(pid)], stderr=subprocess.DEVNULL
    )
    status = Path(f"/proc/{pid}/status")
    for _ in range(1_000):
        if "TracerPid:\t0" not in status.read_text():
            break
        time.sleep(0.01)
    os.kill(pid, signal.SIGCONT)
    return tracer


def _wait(pid: int, end: float, kill_at: float | None) -> int | None:
    """Exit code of a process; None if it is not done by `end`."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _end_group(pid)
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if kill_at is not None and now >= kill_at:
            os.kill(pid, signal.SIGKILL)
            kill_at = None
        if now >= end:
            _end_group(pid)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.005)


def _end_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
