"""Runs the command line time after time, in processes that kill themselves at a chosen call.

``python -m tests.killing OVERRIDE...`` reads a JSON list of runs, each an output directory and a kill
(``[function, call, when]``, or null), and writes the exit code of each. The processes are forks of one that
has imported everything, which saves seconds each.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
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


def arm(function: str, call: int, when: str) -> None:
    """Make a function kill the process before or after its n-th call."""
    module, _, name = function.rpartition(".")
    home = importlib.import_module(module)
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


def run(overrides: Sequence[str], kill: tuple[str, int, str] | None) -> int:
    """Run the command line in a fork; give its exit code, -9 if it was killed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    from fused_clip.run import main

    code = 1
    try:
        if kill:
            arm(*kill)
        sys.argv = ["fused_clip.run", *overrides]
        os.dup2(2, 1)
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for module in WARM:
        importlib.import_module(module)
    runs = json.load(sys.stdin)
    print(json.dumps([run([*sys.argv[1:], f"output_dir={out}"], kill) for out, kill in runs]))
