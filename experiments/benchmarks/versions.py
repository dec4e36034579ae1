"""Benchmarks of a version of the project, in processes that import the code of its checkout."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.measure import STEP
from experiments.benchmarks.pairs import Taken
from fused_clip.support.errors import InputError

_PACKAGES = ("fused_clip", "hydra_plugins", "experiments")
# An installed checkout would answer for a version that has none.
_LIST = """
import json
from pathlib import Path
from experiments.benchmarks import suite
if not Path(suite.__file__).resolve().is_relative_to(Path.cwd()):
    raise ModuleNotFoundError("No module named 'experiments.benchmarks.suite'")
print(json.dumps({
    one.name: {
        "task": one.task,
        "size": min(one.sizes),
        "peer": one.peer,
        "missing": getattr(one, "missing", str)(),
    }
    for one in suite.BENCHMARKS
}))
"""


def compile_code(tree: Path) -> None:
    """Compile a version's code: else its first run would, and count as slower.

    Parameters
    ----------
    tree : folder of its checkout.
    """
    for package in _PACKAGES:
        compileall.compile_dir(tree / package, quiet=2)


def listed(tree: Path) -> dict[str, dict[str, Any]]:
    """Benchmarks of a version by name: task, smallest size, whether of a peer, what the machine lacks for it.

    Parameters
    ----------
    tree : folder of its checkout.

    Raises
    ------
    InputError
        If it has no benchmarks that can be imported.
    """
    done = _python(tree, ["-c", _LIST])
    if done.returncode:
        raise InputError("base", f"has no benchmarks that can be imported: {_last_line(done)}", str(tree))
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def take(tree: Path, name: str, size: int) -> Taken:
    """Run a benchmark of a version once.

    Parameters
    ----------
    tree : folder of the version's checkout.
    name : of the benchmark.
    size : rows or images.

    Raises
    ------
    InputError
        If it fails, with the last line of its error.
    """
    done = _python(tree, [*STEP[1:], name, str(size)])
    if done.returncode:
        rule = f"failed at size {size:,} in {tree}, exit code {done.returncode}: {_last_line(done)}"
        raise InputError(name, rule)
    facts = json.loads(done.stdout.splitlines()[-1])
    return Taken(facts["seconds"], facts["cpu_seconds"])


def _python(tree: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python on the code of a version."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "without a message"
