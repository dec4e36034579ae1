"""One benchmark in a process of its own, and the record of what it took."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.machine import environment
from fused_clip.runner.cell import commit
from fused_clip.support.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
#: Command of one run, to which the benchmark's name and the size are added; its last line is JSON.
STEP = (sys.executable, "-m", "experiments.benchmarks.step")
_STATUS = Path("/proc/self/status")
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of what getrusage counts


class Timer:
    """Times the body of ``with timer():``; preparation before it and checks after it do not count.

    Attributes
    ----------
    seconds, cpu_seconds : elapsed; of all threads and of the processes that were started and have ended.
    start_gb, peak_gb : resident memory before, and the largest meanwhile, in 10^9 bytes. Of processes that
        were started, that of the largest if it is larger.
    """

    seconds: float
    cpu_seconds: float
    start_gb: float
    peak_gb: float

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.start_gb = _start_peak()
        start, start_cpu, children = time.perf_counter(), time.process_time(), _children()
        yield
        ended = _children()
        of_children = (ended.ru_utime - children.ru_utime) + (ended.ru_stime - children.ru_stime)
        self.seconds = time.perf_counter() - start
        self.cpu_seconds = time.process_time() - start_cpu + of_children
        self.peak_gb = max(self.start_gb, _peak_gb(), ended.ru_maxrss * _UNIT / 1e9 if of_children else 0)


def _start_peak() -> float:
    """Let the largest resident memory be counted from now on, where the system can; give what it is now."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_gb()


def _peak_gb() -> float:
    """Largest resident memory of this process, by Linux's own count where there is one: `getrusage` starts
    from what the parent process had.
    """
    if _STATUS.exists():
        (peak,) = (line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e9


def _children() -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_CHILDREN)


@dataclass(frozen=True)
class Benchmark:
    """A way of doing a task.

    Parameters
    ----------
    task : name of the work; a table and a panel of the figure each.
    method : who does it.
    run : called with the number of rows or images and a timer; returns facts about the outcome.
    sizes : numbers of rows or images it is measured at.
    peer : whether it is not ours, but what ours is compared with.
    missing : says what it needs and this machine lacks; empty where it can run.
    """

    task: str
    method: str
    run: Callable[[int, Timer], Mapping[str, float]]
    sizes: tuple[int, ...]
    peer: bool = False
    missing: Callable[[], str] = str

    @property
    def name(self) -> str:
        """Task and method."""
        return f"{self.task}/{self.method}"


@dataclass(frozen=True)
class Run:
    """What one run took.

    Parameters
    ----------
    size : rows or images.
    seconds : elapsed time; `cpu_seconds`: that of all threads, less shaken by what else the machine runs.
    peak_gb : largest resident memory in the timed part, in 10^9 bytes; `start_gb`: before it.
    load : what else the machine ran when it began: mean number of running processes of the last minute.
    commit : of the code, with ``+`` for local changes.
    facts : of the outcome.
    date : day on which it ran, UTC, as 2026-11-30.
    """

    task: str
    method: str
    size: int
    seconds: float
    cpu_seconds: float
    peak_gb: float
    start_gb: float
    load: float
    commit: str
    facts: dict[str, float] = field(default_factory=dict)
    date: str = ""


def measure(benchmark: Benchmark, size: int) -> Run:
    """Run a benchmark once in a fresh process, so that its memory is its own.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; what it printed is on standard error.
    """
    load, date = os.getloadavg()[0], datetime.now(UTC).date().isoformat()
    command = [*STEP, benchmark.name, str(size)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    taken = json.loads(done.stdout.splitlines()[-1])
    return Run(benchmark.task, benchmark.method, size, load=load, commit=commit(), date=date, **taken)


class Results:
    """Runs of one machine in a JSON file.

    Attributes
    ----------
    runs : in the order in which they were made.
    environment : the machine and the versions that they belong to; this one's where there is no file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Run] = []
        self.environment: dict[str, Any] = {}
        if path.exists():
            stored = json.loads(path.read_text())
            self.runs = [Run(**run) for run in stored["runs"]]
            self.environment = stored["environment"]
        if not self.runs:
            self.environment = environment()

    def check_machine(self) -> None:
        """Check that runs of this machine may be added.

        Raises
        ------
        InputError
            If the runs are of another machine or of other versions.
        """
        if self.environment != environment():
            rule = "contains runs of another machine or other versions, not comparable with this one's"
            raise InputError("results", rule, str(self.path), hint="Name another file, or delete it.")

    @property
    def dates(self) -> tuple[str, str]:
        """First and last day on which a run was made; empty without a run."""
        dates = sorted(run.date for run in self.runs)
        return (dates[0], dates[-1]) if dates else ("", "")

    def of(self, benchmark: Benchmark, size: int) -> list[Run]:
        """Return the runs of a benchmark at a size."""
        key = (benchmark.task, benchmark.method, size)
        return [run for run in self.runs if (run.task, run.method, run.size) == key]

    def add(self, run: Run) -> None:
        """Append a run and write the file, whole or not at all."""
        self.runs.append(run)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"environment": self.environment, "runs": [asdict(run) for run in self.runs]}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(self.path)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the least-squares line through the logarithms; NaN for a single size."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
