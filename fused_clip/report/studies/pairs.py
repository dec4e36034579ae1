"""Two methods on the same test rows: their difference and its significance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fused_clip.metrics.numbers import number
from fused_clip.report.page import Table, TableCell
from fused_clip.report.studies.significance import ALPHA, Interval, combined, holm, mcnemar, paired_interval
from fused_clip.report.summary import flag_of

SAME = 0.01  # accuracies closer than this are called equal
Answer = Literal["yes", "no", "open", "not measured"]
UNKNOWN = Interval(math.nan, math.nan, math.nan)

DIFFERENCES = (
    "First minus second, on the same test rows, mean over seeds. The interval is for other test images and "
    "for other seeds, which draw splits and drive fits: a bootstrap over images, paired, with the spread of "
    "the seeds added. The p-value is McNemar's exact test in each seed, the seeds combined by Rueger's rule, "
    "corrected by Holm's method for all rows of the table, copies counted once; it is for these fits. A "
    "difference is significant if the corrected p-value is below .05 and the interval excludes zero. With "
    "one seed there is no interval, and nothing is significant."
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from fused_clip.tracking.records import RunRecord


@dataclass(frozen=True)
class Arm:
    """A predictor of the test rows.

    Parameters
    ----------
    name : as the table calls it.
    records : runs of one setting, one a seed, missing ones included.
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
    dataset, first, second : names of the dataset and of both arms.
    interval : of the mean difference, for other images and other seeds; NaN where no seed has both arms.
    p_value : of McNemar's exact test in each seed, combined, for these fits; NaN where there is none.
    run_ids : runs of both arms.
    seeds, rows, differing : seeds compared, their test rows, and those that only one arm gets right.
    whole : whether every planned run of both arms was compared.
    flag : problems of the runs, in a few words.
    corrected : `p_value` after Holm's correction for all comparisons of the page.
    """

    dataset: str
    first: str
    second: str
    interval: Interval = UNKNOWN
    p_value: float = math.nan
    run_ids: Sequence[str] = ()
    seeds: int = 0
    rows: int = 0
    differing: int = 0
    whole: bool = False
    flag: str = ""
    corrected: float = math.nan

    @property
    def significant(self) -> bool:
        """Whether both the corrected test and the interval exclude that there is no difference."""
        return self.corrected < ALPHA and self.interval.excludes_zero

    @property
    def better(self) -> bool:
        """Whether the first is better, taken alone: for a claim about all datasets at once.

        That every part of a conjunction passes at a level makes the whole pass at it (Berger 1982).
        """
        return self.p_value < ALPHA and self.interval.low > 0

    @property
    def worse(self) -> bool:
        """Whether the first is significantly worse."""
        return self.significant and self.interval.mean < 0

    @property
    def same(self) -> bool:
        """Whether the interval lies within .01 of zero."""
        return max(-self.interval.low, self.interval.high) < SAME

    @property
    def is_better(self) -> Answer:
        """Whether the first is better: "no" if it is significantly worse, or within .01."""
        return self._answer(self.better, self.worse or self.same)

    @property
    def is_same(self) -> Answer:
        """Whether both are within .01: "no" if they differ significantly and may be further apart."""
        return self._answer(self.same, self.significant)

    def _answer(self, shown: bool, refuted: bool) -> Answer:
        if not self.whole:
            return "not measured"
        return "yes" if shown else "no" if refuted else "open"


class Answers:
    """Which test rows each run and each of its references got right; a run's file is read once."""

    def __init__(self) -> None:
        self._known: dict[str, DataFrame | None] = {}

    def _of(self, record: RunRecord) -> DataFrame | None:
        if record.run_id not in self._known:
            self._known[record.run_id] = _answers(record) if record.finished else None
        return self._known[record.run_id]

    def compare(self, dataset: str, first: Arm, second: Arm) -> Comparison | None:
        """Compare seed by seed, on the rows that both predicted; without numbers where no seed has both.

        None where an arm was not planned or does not predict.

        Parameters
        ----------
        dataset : as tables name it.
        first, second : the arms.
        """
        if not (self._predicts(first) and self._predicts(second)):
            return None
        rivals = {record.option("seed"): record for record in second.records}
        kept = []
        for mine in first.records:
            theirs = rivals.get(mine.option("seed"))
            rows = None if theirs is None else self._rows(mine, first.column, theirs, second.column)
            if theirs is not None and rows is not None:
                kept.append((mine, theirs, rows))
        records = list({id(one): one for one in [*first.records, *second.records]}.values())
        planned = {one.option("seed") for one in records}
        whole = all(one.finished for one in records) and len(kept) == len(planned)
        flag = flag_of(records) or ("" if whole else f"{len(kept)} of {len(planned)} seeds")
        made = Comparison(dataset, first.name, second.name, whole=whole, flag=flag)
        return _measured(made, kept) if kept else made

    def _predicts(self, arm: Arm) -> bool:
        known = [self._of(record) for record in arm.records]
        return bool(known) and all(arm.column in table for table in known if table is not None)

    def _rows(self, mine: RunRecord, column: str, theirs: RunRecord, other: str) -> DataFrame | None:
        """Return what each got right on their common rows, in columns 0 and 1; None without such rows."""
        a, b = self._of(mine), self._of(theirs)
        if a is None or b is None:
            return None
        rows = a[[column]].set_axis([0], axis=1).join(b[[other]].set_axis([1], axis=1), how="inner")
        return rows if len(rows) else None


def _measured(made: Comparison, kept: Sequence[tuple[RunRecord, RunRecord, DataFrame]]) -> Comparison:
    right = [rows.to_numpy(dtype=bool) for _, _, rows in kept]
    differences = np.concatenate([one[:, 0].astype(float) - one[:, 1] for one in right])
    images = np.concatenate([rows.index.to_numpy(dtype=str) for _, _, rows in kept])
    seeds = np.repeat(np.arange(len(right)), [len(one) for one in right])
    return replace(
        made,
        interval=paired_interval(differences, images, seeds),
        p_value=combined([mcnemar(one[:, 0], one[:, 1]) for one in right]),
        run_ids=tuple(dict.fromkeys(run.run_id for pair in kept for run in pair[:2])),
        seeds=len(kept),
        rows=len(differences),
        differing=int(np.count_nonzero(differences)),
    )


def corrected(comparisons: Sequence[Comparison | None]) -> list[Comparison]:
    """Apply Holm's correction over the family; comparisons that could not be made are left out.

    Parameters
    ----------
    comparisons : the whole family; copies, as of two controls that predict alike, are one test.
    """
    made = [one for one in comparisons if one is not None]
    evidence = [(one.dataset, one.interval, one.p_value, one.seeds, one.rows, one.differing) for one in made]
    tests = {key: one.p_value for key, one in zip(evidence, made, strict=True) if not math.isnan(one.p_value)}
    values = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [
        replace(one, corrected=values.get(key, math.nan)) for key, one in zip(evidence, made, strict=True)
    ]


def difference_table(comparisons: Sequence[Comparison], setting: str) -> Table:
    """Make a table of one row a comparison; `DIFFERENCES` explains it.

    Parameters
    ----------
    comparisons : after the correction.
    setting : backbone and data, for the caption.
    """
    columns = [
        "dataset", "first", "second", "first - second", "95 % interval", "p (Holm)", "significant",
        "seeds", "test rows", "rows that differ",
    ]  # fmt: skip
    rows = [
        [
            *map(TableCell, (one.dataset, one.first, one.second)),
            TableCell(signed(one.interval.mean), _finite(one.interval.mean), one.run_ids, one.flag),
            TableCell(_bounds(one), _finite(one.interval.low)),
            TableCell(
                "< .001" if one.corrected < 0.001 else number(one.corrected, 3), _finite(one.corrected)
            ),
            TableCell("yes" if one.significant else "no" if one.rows else "-"),
            *(TableCell(str(count), count) for count in (one.seeds, one.rows, one.differing)),
        ]
        for one in comparisons
    ]
    return Table(f"Accuracies compared. {setting}", columns, rows, "differences")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def signed(value: float) -> str:
    """Format a difference with its sign: +.0010, -.0010, .0000.

    Parameters
    ----------
    value : any.
    """
    text = number(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def _bounds(one: Comparison) -> str:
    if one.rows and not one.differing:
        return "no test row differs"
    low, high = one.interval[1:]
    return f"[{signed(low)}, {signed(high)}]" if math.isfinite(low) else "-"


def _answers(record: RunRecord) -> DataFrame | None:
    table = record.predictions()
    if table is None or "test/accuracy" not in record.metrics:
        return None
    test = table[table["split"] == "test"].set_index("row_id")
    predictors = [name for name in map(str, test) if name == "predicted" or name.startswith("reference/")]
    kept = [name for name in predictors if test[name].notna().any()]
    return test[kept].eq(test["target"], axis=0)
