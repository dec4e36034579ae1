"""What a sweep and a cell say of how far they are."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused_clip.metrics.numbers import number
from fused_clip.runner.outcomes import read_records
from fused_clip.support.stages import Stages

log = logging.getLogger(__name__)
_PATIENCE = 5.0  # seconds after which a stage names itself: quick cells stay quiet
_STAGES = {
    "load": "loading the data",
    "embed": "embedding",
    "pair": "pairing images with prompts",
    "fit": "clustering",
    "classify": "classifying test images",
    "score": "scoring",
    "references": "computing references",
    "figures": "drawing figures",
}


class NamedStages(Stages):
    """Stages of a cell that log their name when they take more than five seconds.

    Parameters
    ----------
    cell : name of the cell.
    """

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.cell = cell

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage, and name it if it takes long.

        Parameters
        ----------
        stage : short name, as in the metric ``seconds/<stage>``.
        """
        timer = threading.Timer(_PATIENCE, log.info, ["%s: %s", self.cell, _STAGES.get(stage, stage)])
        timer.daemon = True
        timer.start()
        try:
            with super().__call__(stage):
                yield
        finally:
            timer.cancel()


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
