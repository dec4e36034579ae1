"""Where the time of a sweep goes: `python -m experiments.benchmarks.stages`, with FUSED_CLIP_DATA set.

Eight cells without figures, each time in a new process: into an empty folder, with embeddings that are
stored, and with cells that are all finished. Every 2 ms of processor time the call stack says what the
process is at, so that nothing is wrapped and one stage does not pay for another.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType

ROOT = Path(__file__).parents[2]  # nothing else is imported: that would be no stage's
CELLS = ("dataset=mnist,cifar10", "prompt=task,grouped,swapped,none")
ROWS = ("dataset.n_train=2000", "dataset.n_test=500", "figures.enabled=false")
READINGS = {"empty folder": "0", "embeddings stored": "1", "all cells finished": "1"}  # seed of each
_INTERVAL = 0.002
# Part of a file's path -> stage; the innermost call that has one decides.
_STAGES = {
    "<frozen importlib": "imports",
    "hydra/_internal/config_loader_impl.py": "options",
    "fused_clip/runner/compositions.py": "options",
    "fused_clip/tracking/": "database",
    "fused_clip/method/embedding.py": "embedding",
    "fused_clip/dataset/images.py": "fingerprints",
    "fused_clip/pipeline.py": "cells",
    "fused_clip/runner/cell.py": "cells",
    "fused_clip/runner/forecast.py": "forecast",
    "fused_clip/audit/": "references",
}
STAGES = (*dict.fromkeys(_STAGES.values()), "other")


class Sampler:
    """Adds the processor time between two samples to the stage that the second one finds."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = 0.0

    def start(self) -> None:
        """Take a sample whenever the process has used 2 ms."""
        self._last = time.process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def stop(self) -> dict[str, float]:
        """Give the seconds of each stage."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._add("other")
        return {stage: self.seconds[stage] for stage in STAGES}

    def _sample(self, signum: int, frame: FrameType | None) -> None:
        self._add(next(filter(None, map(_stage, _callers(frame))), "other"))

    def _add(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self._last
        self._last = now


def _callers(frame: FrameType | None) -> Iterator[str]:
    """Files of a call stack, innermost first."""
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _stage(file: str) -> str | None:
    return next((stage for part, stage in _STAGES.items() if part in file), None)


def sample(out: Path, words: list[str]) -> None:
    """Run the command in this process, and write the seconds of its stages.

    Parameters
    ----------
    out : JSON file.
    words : of the command line.
    """
    sampler = Sampler()
    sampler.start()
    sys.argv = ["fused_clip.run", *words]
    try:
        runpy.run_module("fused_clip.run", run_name="__main__", alter_sys=True)
    finally:
        out.write_text(json.dumps(sampler.stop()))


def measure(folder: Path, seed: str) -> dict[str, float]:
    """Measure one sweep in a process of its own: CPU seconds of its stages, and ``wall``.

    Parameters
    ----------
    folder : where it writes.
    seed : of its cells.
    """
    out = folder / "stages.json"
    words = ["-m", *CELLS, *ROWS, f"seed={seed}", f"output_dir={folder / 'outputs'}"]
    start = time.perf_counter()
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "experiments.benchmarks.stages", "--sample", str(out), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds: dict[str, float] = json.loads(out.read_text())
    return {**seconds, "all": sum(seconds.values()), "wall": time.perf_counter() - start}


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Write medians as Markdown.

    Parameters
    ----------
    found : reading -> what `measure` gave, run by run.
    """
    lines = ["| CPU seconds | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for stage in (*STAGES, "all", "wall"):
        values = [median(taken[stage] for taken in runs) for runs in found.values()]
        lines.append(f"| {stage} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="experiments.benchmarks.stages", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    found: dict[str, list[dict[str, float]]] = {reading: [] for reading in READINGS}
    for _ in range(parser.parse_args().repeats):
        with TemporaryDirectory() as folder:
            for reading, seed in READINGS.items():
                found[reading].append(measure(Path(folder), seed))
    print(table(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sample"]:
        sample(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
