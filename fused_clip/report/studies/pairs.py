"""Two methods on the same test rows: their difference, its tests, and the family that corrects them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fused_clip.report.studies.significance import ALPHA, Difference, holm, mcnemar, paired_estimate
from fused_clip.report.summary import flag_of

# Equal accuracies differ by less than this share of the smaller error rate. A margin of .01 for every dataset
# would exceed the whole error of MNIST.
MARGIN = 0.1
Answer = Literal["yes", "no", "open", "not measured"]

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
class Comparison(Difference):
    """Accuracy of one arm minus that of another, tested for other images and other seeds.

    The estimate is NaN where no seed has both arms; the correction is for all comparisons of the page.

    Parameters
    ----------
    dataset, first, second : names of the dataset and of both arms.
    margin : a tenth of the smaller error rate of both arms; differences within it are called equal.
    run_ids : runs of both arms.
    seeds, rows : seeds compared, and their test rows.
    only_first, only_second : test rows that only one arm gets right.
    mcnemar : p-value of McNemar's exact test of each seed; no verdict uses it.
    whole : whether every planned run of both arms was compared.
    flag : problems of the runs, in a few words.
    corrected_equivalence : p-value of the equivalence test after Holm's correction for all of the page.
    """

    dataset: str
    first: str
    second: str
    margin: float = math.nan
    run_ids: Sequence[str] = ()
    seeds: int = 0
    rows: int = 0
    only_first: int = 0
    only_second: int = 0
    mcnemar: Sequence[float] = ()
    whole: bool = False
    flag: str = ""
    corrected_equivalence: float = math.nan

    @property
    def tested(self) -> bool:
        """Whether there is a test: an error could be estimated."""
        return math.isfinite(self.estimate.error)

    @property
    def equivalence(self) -> float:
        """Uncorrected p-value of the test that the difference is not within the margin."""
        return self.estimate.equivalence(self.margin)

    def equal(self, *, correct: bool) -> bool:
        """Whether the difference lies within the margin.

        Parameters
        ----------
        correct : after Holm's correction, or the test taken alone.
        """
        return (self.corrected_equivalence if correct else self.equivalence) < ALPHA

    @property
    def is_better(self) -> Answer:
        """Whether the first is better: "no" if it is worse or equal."""
        refuted = self.worse(correct=True) or self.equal(correct=True)
        return self._answer(self.better(correct=False), refuted)

    @property
    def is_equal(self) -> Answer:
        """Whether both are equal: "no" if they differ, and possibly by more than the margin."""
        return self._answer(self.equal(correct=False), self.significant)

    def _answer(self, shown: bool, refuted: bool) -> Answer:
        # A claim of all datasets is shown if every test taken alone passes: that needs no correction (Berger,
        # "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 1982). One dataset of
        # many refutes it, which does.
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
    import pandas as pd

    right = [rows.to_numpy(dtype=bool) for _, _, rows in kept]
    each = [rows[0].astype(float) - rows[1] for _, _, rows in kept]
    differences = pd.concat(each, axis=1).to_numpy(dtype=float).T  # NaN where a seed has no such test row
    errors = 1 - np.mean([one.mean(axis=0) for one in right], axis=0)
    return replace(
        made,
        estimate=paired_estimate(differences),
        margin=MARGIN * float(errors.min()),
        run_ids=tuple(dict.fromkeys(run.run_id for pair in kept for run in pair[:2])),
        seeds=len(kept),
        rows=sum(map(len, right)),
        only_first=int((differences > 0).sum()),
        only_second=int((differences < 0).sum()),
        mcnemar=tuple(mcnemar(one[:, 0], one[:, 1]) for one in right),
    )


def corrected(comparisons: Sequence[Comparison | None]) -> list[Comparison]:
    """Apply Holm's correction over the family; comparisons that could not be made are left out.

    Differences and equivalences are two families.

    Parameters
    ----------
    comparisons : the whole family.
    """
    made = [one for one in comparisons if one is not None]
    # Two comparisons with equal numbers stay two tests: a family that the data can shrink is not fixed before
    # them, and Holm's correction allows for tests that agree.
    tests = [one for one in made if one.tested]
    differ = iter(holm([one.estimate.p_value for one in tests]))
    equal = iter(holm([one.equivalence for one in tests]))
    return [
        replace(one, corrected=next(differ), corrected_equivalence=next(equal)) if one.tested else one
        for one in made
    ]


def _answers(record: RunRecord) -> DataFrame | None:
    table = record.predictions()
    if table is None or "test/accuracy" not in record.metrics:
        return None
    test = table[table["split"] == "test"].set_index("row_id")
    predictors = [name for name in map(str, test) if name == "predicted" or name.startswith("reference/")]
    kept = [name for name in predictors if test[name].notna().any()]
    return test[kept].eq(test["target"], axis=0)
