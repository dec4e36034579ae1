"""Seconds: of each stage of a run, and as people say them."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stages:
    """Measure the stages of a run.

    Parameters
    ----------
    seconds : by stage, in order; several spans of one stage add up.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage.

        Parameters
        ----------
        stage : its name.
        """
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def duration(seconds: float) -> str:
    """Format seconds: 8.4 s, 3 min 20 s, 1 h 5 min; - if unknown.

    Parameters
    ----------
    seconds : NaN if unknown.
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, some = divmod(minutes, 60)
    return f"{hours} h {some} min" if hours else f"{minutes} min {rest} s"


def rough_duration(seconds: float) -> str:
    """Format seconds that are an estimate: 42 s, 29 min, 1.5 h, 2.1 d.

    Parameters
    ----------
    seconds : at least 0.
    """
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
