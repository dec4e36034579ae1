"""Two methods on the same test rows: how far apart, and whether the difference is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fused_clip.report.page import Cell, Table
from fused_clip.report.summary import number
from fused_clip.studies.significance import ALPHA, Interval, combined, holm, mcnemar, paired_interval

if TYPE_CHECKING:
    from pandas import DataFrame

    from fused_clip.tracking.records import RunRecord


@dataclass(frozen=True)
class Arm:
    """What predicted the test rows.

    Parameters
    ----------
    name : as the table calls it.
    records : runs of one setting, one a seed.
    column : of their predictions: the method's own, or ``reference/<name>``.
    """

    name: str
    records: Sequence[RunRecord]
    column: str = "predicted"


@dataclass(frozen=True)
class Comparison:
    """Accuracy of one arm minus that of another.

    Parameters
    ----------
    interval : of the mean difference over seeds and test rows, images drawn together with all their rows.
    p_value : of McNemar's exact test in each seed, combined.
    corrected : the same after Holm's correction for all comparisons of the page.
    """

    dataset: str
    first: str
    second: str
    interval: Interval
    p_value: float
    run_ids: Sequence[str]
    corrected: float = float("nan")

    @property
    def real(self) -> bool:
        """Whether the corrected test tells the two apart."""
        return self.corrected < ALPHA

    @property
    def better(self) -> bool:
        """Whether the first is better, and really so."""
        return self.real and self.interval.mean > 0


@dataclass
class Answers:
    """Which test rows each run, and each of its references, got right; a run's file is read once."""

    known: dict[str, DataFrame | None] = field(default_factory=dict)

    def of(self, record: RunRecord) -> DataFrame | None:
        """Booleans by row id, one column a predictor; None where the run left no predictions."""
        if record.run_id not in self.known:
            self.known[record.run_id] = _answers(record)
        return self.known[record.run_id]

    def compare(self, dataset: str, first: Arm, second: Arm) -> Comparison | None:
        """Compare seed by seed, on the rows that both predicted; None if no seed has both."""
        rivals = {record.option("seed"): record for record in second.records if record.finished}
        differences, images, p_values, run_ids = [], [], [], []
        for record in first.records:
            rival = rivals.get(record.option("seed"))
            if rival is None or not record.finished:
                continue
            mine, theirs = self.of(record), self.of(rival)
            if mine is None or theirs is None or first.column not in mine or second.column not in theirs:
                continue
            shared = mine.index.intersection(theirs.index)
            a = mine.loc[shared, first.column].to_numpy(dtype=bool)
            b = theirs.loc[shared, second.column].to_numpy(dtype=bool)
            differences.append(a.astype(float) - b)
            images.append(shared.to_numpy(dtype=str))
            p_values.append(mcnemar(a, b))
            run_ids += [record.run_id, rival.run_id]
        if not differences:
            return None
        interval = paired_interval(np.concatenate(differences), np.concatenate(images))
        unique = tuple(dict.fromkeys(run_ids))
        return Comparison(dataset, first.name, second.name, interval, combined(p_values), unique)


def corrected(comparisons: Sequence[Comparison | None]) -> list[Comparison]:
    """Holm's correction over the family; comparisons that could not be made are left out."""
    made = [one for one in comparisons if one is not None]
    return [
        replace(one, corrected=value)
        for one, value in zip(made, holm([one.p_value for one in made]), strict=True)
    ]


def difference_table(comparisons: Sequence[Comparison], caption: str, name: str) -> Table:
    """One row a comparison: the difference, its interval, its p-value and whether it is real."""
    columns = ["dataset", "first", "second", "first - second", "95 % interval", "p (Holm)", "real"]
    rows = [
        [
            Cell(one.dataset),
            Cell(one.first),
            Cell(one.second),
            Cell(signed(one.interval.mean), one.interval.mean, one.run_ids),
            Cell(bounds(one.interval), one.interval.low),
            Cell(number(one.corrected, 3) if one.corrected >= 0.001 else "< .001", one.corrected),
            Cell("yes" if one.real else "no"),
        ]
        for one in comparisons
    ]
    return Table(caption, columns, rows, name)


def signed(value: float) -> str:
    """A difference with its sign: +.0010, -.0010, .0000."""
    text = number(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def bounds(interval: Interval) -> str:
    """An interval as ``[low, high]``; ``-`` where there is none."""
    if not np.isfinite(interval.low):
        return "-"
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def _answers(record: RunRecord) -> DataFrame | None:
    table = record.predictions()
    if table is None or "test/accuracy" not in record.metrics:
        return None
    test = table[table["split"] == "test"].set_index("row_id")
    predictors = [name for name in map(str, test) if name == "predicted" or name.startswith("reference/")]
    kept = [name for name in predictors if test[name].notna().any()]
    return test[kept].eq(test["target"], axis=0)
