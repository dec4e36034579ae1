"""Runs the command line time after time, in processes that kill themselves at a chosen call.

``python -m tests.killing`` reads a JSON list of runs, each a list of overrides and a kill
(``[function, call, when]``, or null), and writes the exit code of each. The processes are forks of one that
has imported everything, which saves seconds each.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

WARM = (
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


Kill = tuple[str, int, str]


def run_all(runs: Sequence[tuple[Sequence[str], Kill | None]]) -> tuple[list[int], str]:
    """Run the command line with each list of overrides; give the exit codes, and all that was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.killing"],
        cwd=Path(__file__).parents[1],
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)), done.stderr


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


def warm_up() -> None:
    """Import what a run needs."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for module in WARM:
        importlib.import_module(module)


def start(overrides: Sequence[str], kill: Kill | None = None, at: float = 0.0) -> int:
    """Run the command line in a fork, at a given time; give its process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    from fused_clip.run import main

    code = 1
    try:
        if kill:
            arm(*kill)
        sys.argv = ["fused_clip.run", *overrides]
        os.dup2(2, 1)
        time.sleep(max(0.0, at - time.time()))
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(pid: int) -> int:
    """Wait for a process; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    warm_up()
    print(json.dumps([exit_code(start(overrides, kill)) for overrides, kill in json.load(sys.stdin)]))
