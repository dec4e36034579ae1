"""What a sweep says of how far it is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused_clip.metrics.numbers import number
from fused_clip.runner.outcomes import read_records


@dataclass(frozen=True)
class Progress:
    """How far a sweep is, known in every process that runs its jobs.

    Parameters
    ----------
    directory : of the sweep.
    started : seconds since the epoch.
    cells : in the sweep; 0 where that is unknown.
    finished : of these, how many were finished before.
    axes : keys that differ between cells; empty where that is unknown.
    """

    directory: Path
    started: float
    cells: int = 0
    finished: int = 0
    axes: tuple[str, ...] = ()

    def line(self, directory: Path) -> str:
        """Say in a line what became of a cell, and how long the others will take.

        Parameters
        ----------
        directory : of the cell, which has ended.
        """
        jobs = read_records(self.directory, lost=False)
        of = f" of {self.cells}" if self.cells else ""
        for job in jobs:
            if job["directory"] == str(directory):
                axes = job["axes"]
                named = [f"{axis}={axes[axis]}" for axis in self.axes or axes if axis in axes]
                told = ", ".join([*([" ".join(named)] if named else []), _outcome(job)])
                return f"cell {len(jobs)}{of}: {told}{self._left(jobs)}"
        return f"a cell{of} left no record{self._left(jobs)}"

    def _left(self, jobs: Sequence[Mapping[str, Any]]) -> str:
        ran = sum(not job["reused_from"] for job in jobs)
        remaining = min(self.cells - len(jobs), self.cells - self.finished - ran)
        if remaining <= 0 or not ran:
            return ""
        return f"; about {_duration((time.time() - self.started) / ran * remaining)} left"


def _outcome(record: Mapping[str, Any]) -> str:
    if record["error"]:
        return "failed"
    accuracy = record["metrics"].get("test/accuracy")
    text = "done" if accuracy is None else f"accuracy {number(accuracy)}"
    return f"{text} (finished already)" if record["reused_from"] else text


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
