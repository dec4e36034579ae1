"""Pairs of runs of two versions: ratios, their interval, and whether one is slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

from scipy.stats import binom

Clock = Literal["seconds", "cpu_seconds"]
CLOCKS: tuple[Clock, ...] = ("seconds", "cpu_seconds")
LIMIT = 1.2
LEVEL = 0.9
FEWEST = 5  # pairs: of fewer, the range covers the median ratio with less than `LEVEL`


class Taken(NamedTuple):
    """What one run took: elapsed and CPU seconds."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Pairs:
    """Runs of base and head, turn by turn.

    Parameters
    ----------
    base, head : what each run took; as many of both, at least `FEWEST`.
    """

    base: Sequence[Taken]
    head: Sequence[Taken]

    def medians(self, clock: Clock) -> tuple[float, float]:
        """Median seconds of base and of head."""
        base, head = (median(getattr(run, clock) for run in runs) for runs in (self.base, self.head))
        return base, head

    def ratios(self, clock: Clock) -> list[float]:
        """Head over base in each turn, ascending."""
        turns = zip(self.base, self.head, strict=True)
        return sorted(getattr(head, clock) / getattr(base, clock) for base, head in turns)

    def interval(self, clock: Clock) -> tuple[float, float]:
        """Interval that contains the median ratio with a probability of at least `LEVEL`.

        Its ends are two of the ratios (order statistics): it assumes no distribution.
        """
        ratios = self.ratios(clock)
        outside = int(binom.ppf((1 - LEVEL) / 2, len(ratios), 0.5))
        if binom.cdf(outside, len(ratios), 0.5) > (1 - LEVEL) / 2:
            outside -= 1
        return ratios[outside], ratios[-1 - outside]

    def slower(self) -> bool:
        """Whether by either clock the median ratio is above `LIMIT` and the whole interval above 1."""
        return any(median(self.ratios(clock)) > LIMIT and self.interval(clock)[0] > 1 for clock in CLOCKS)
