"""True minus swapped prompts, against how far apart the prompts are: measured, and in the paper's table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fused_clip.metrics.catalogue import METRICS
from fused_clip.metrics.numbers import mean_and_deviation, number
from fused_clip.report.page import Block, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.studies.published import load
from fused_clip.report.studies.settings import apart, chosen, circumstances, dataset_name, values
from fused_clip.report.studies.spacing_chart import GapPoint, draw_gaps
from fused_clip.report.summary import flag_of, summarize
from fused_clip.tracking.records import RunRecord

ACCURACY, SPACING, PURITY = "test/accuracy", "train/prompt_spacing", "train/prompt_purity"
NEAR_TIES = 0.001  # share of test rows so near to two clusters that rounding decides
_WHOLE = 1.0  # the share that leaves the prompts in their places
_GAPS = (
    "Each prompt is moved towards the mean of all prompts, by a share of its distance to it. The spacing is "
    "the least distance between two fused prompts, divided by the median distance of a training row to its "
    "10th neighbour of the same prompt. Where no row has a neighbour of another prompt, both arms have the "
    "same clusters, pure in their prompt: the words cancel, and task and swapped predict alike. Prompt purity"
    " is the lower one of both arms."
)
_PUBLISHED = (
    "With the same pure clusters in both arms the algebra allows a gap of zero, up to"
    f" {number(NEAR_TIES, 3)} for test rows that rounding decides. The last column is the largest spacing at "
    "which a seed has a gap as large as the published one. The published table states neither spacing nor "
    "purity. A gap that is larger than the algebra allows needs another cause: impure clusters, half "
    "precision, training rows shuffled without a seed, or targets without a cluster."
)


@dataclass(frozen=True)
class SpacedArms:
    """The runs of both arms on one dataset with prompts moved to one share.

    Parameters
    ----------
    dataset : its option.
    share : left of each prompt's distance to the mean, as the command line has it.
    task, swapped : runs of each, one a seed, finished or not.
    """

    dataset: str
    share: str
    task: Sequence[RunRecord]
    swapped: Sequence[RunRecord]

    @property
    def records(self) -> list[RunRecord]:
        """Runs of both arms."""
        return [*self.task, *self.swapped]

    @cached_property
    def gaps(self) -> list[float]:
        """Accuracy of task minus that of swapped, of each seed that has both."""
        other = {one.option("seed"): one for one in self.swapped if _has(one, ACCURACY)}
        pairs = [
            (one, other[one.option("seed")])
            for one in self.task
            if _has(one, ACCURACY) and one.option("seed") in other
        ]
        return [one.metrics[ACCURACY] - rival.metrics[ACCURACY] for one, rival in pairs]

    @property
    def spacing(self) -> float | None:
        """Mean spacing of the prompts; the order of the prompts does not change it."""
        found = [one.metrics[SPACING] for one in self.records if _has(one, SPACING)]
        return statistics.fmean(found) if found else None

    @property
    def purity(self) -> float | None:
        """Mean purity by prompt of the arm that has the lower one."""
        arms = (
            [one.metrics[PURITY] for one in arm if _has(one, PURITY)] for arm in (self.task, self.swapped)
        )
        return min((statistics.fmean(some) for some in arms if some), default=None)


def page(records: Sequence[RunRecord]) -> Page:
    """Make the study's page.

    Parameters
    ----------
    records : cells of ``experiment=prompt_spacing``.
    """
    sections, problems = apart(records, _sections)
    return Page("How far apart prompts must be", sections, problems)


def _sections(records: Sequence[RunRecord]) -> list[Section]:
    setting = circumstances(records)
    arms = spaced_arms(records)
    return [
        Section(
            "The gap against the spacing", [Prose(_GAPS), *_chart(arms, setting), gap_table(arms, setting)]
        ),
        Section("The gaps of the paper's table", [Prose(_PUBLISHED), published_table(arms, setting)]),
    ]


def spaced_arms(records: Sequence[RunRecord]) -> list[SpacedArms]:
    """Group the cells by dataset and share, in the order of the sweep.

    Parameters
    ----------
    records : cells of one setting.
    """
    return [
        SpacedArms(dataset, share, *(_cells(records, dataset, share, arm) for arm in ("task", "swapped")))
        for dataset in values(records, "dataset")
        for share in values(records, "text.share")
    ]


def gap_table(arms: Sequence[SpacedArms], setting: str) -> Table:
    """Make a table of one row a dataset and share.

    Parameters
    ----------
    arms : of all datasets and shares.
    setting : backbone and data, for the caption.
    """
    columns = [
        "dataset", "share", METRICS[SPACING].title, METRICS[PURITY].title, "task", "swapped",
        "task - swapped", "|task - swapped|",
    ]  # fmt: skip
    rows = [
        [
            TableCell(dataset_name(one.dataset)),
            TableCell(one.share, float(one.share)),
            summarize(one.records, SPACING),
            _number(one.purity),
            summarize(one.task, ACCURACY),
            summarize(one.swapped, ACCURACY),
            _gap(one, one.gaps),
            _gap(one, [abs(gap) for gap in one.gaps]),
        ]
        for one in arms
    ]
    return Table(f"Accuracy of true and swapped prompts. {setting}", columns, rows, "spacing")


def published_table(arms: Sequence[SpacedArms], setting: str) -> Table:
    """Make a table of one row a dataset of the paper: its published gap next to the measured one.

    Parameters
    ----------
    arms : of all datasets and shares; prompts in their places have the share 1.
    setting : backbone and data, for the caption.
    """
    numbers = load().numbers
    columns = [
        "dataset", "published task - swapped", "measured task - swapped", METRICS[SPACING].title,
        METRICS[PURITY].title, "allowed with pure clusters", "as large from spacing",
    ]  # fmt: skip
    rows = []
    for one in arms:
        if float(one.share) != _WHOLE or (one.dataset, "task", ACCURACY) not in numbers:
            continue
        gap = numbers[one.dataset, "task", ACCURACY] - numbers[one.dataset, "swapped", ACCURACY]
        reached = as_large(gap, [other for other in arms if other.dataset == one.dataset])
        rows.append(
            [
                TableCell(dataset_name(one.dataset)),
                TableCell(number(gap), gap),
                _gap(one, one.gaps),
                summarize(one.records, SPACING),
                _number(one.purity),
                TableCell("yes" if is_allowed(gap) else "no"),
                TableCell("nowhere") if reached is None else _number(reached),
            ]
        )
    return Table(f"Published and measured gaps. {setting}", columns, rows, "published_gaps")


def is_allowed(gap: float) -> bool:
    """Whether pure clusters allow a gap between task and swapped: zero, up to near ties.

    Parameters
    ----------
    gap : difference of two accuracies.
    """
    return round(abs(gap), 4) <= NEAR_TIES


def as_large(gap: float, arms: Sequence[SpacedArms]) -> float | None:
    """Find the largest spacing at which a seed has a gap at least as large, of either sign; None for none.

    Parameters
    ----------
    gap : difference of two accuracies.
    arms : of one dataset, with prompts moved to several shares.
    """
    least = round(abs(gap), 4)
    spacings = [one.spacing for one in arms if any(round(abs(other), 4) >= least for other in one.gaps)]
    return max((spacing for spacing in spacings if spacing is not None), default=None)


def _chart(arms: Sequence[SpacedArms], setting: str) -> list[Block]:
    points = [
        GapPoint(dataset_name(one.dataset), one.spacing, [abs(gap) for gap in one.gaps], one.purity)
        for one in arms
        if one.gaps and one.spacing is not None and one.purity is not None
    ]
    if not points:
        return []
    caption = "Gap between true and swapped prompts, and purity by prompt, against the spacing of prompts. "
    return [Figure(caption + setting, draw_gaps(points, setting))]


def _cells(records: Sequence[RunRecord], dataset: str, share: str, arm: str) -> list[RunRecord]:
    found = chosen(records, prompt=arm, text="shrunk", text__share=share)
    return [one for one in found if one.option("dataset") == dataset]


def _has(record: RunRecord, metric: str) -> bool:
    return record.finished and metric in record.metrics


def _gap(arms: SpacedArms, gaps: Sequence[float]) -> TableCell:
    mean = statistics.fmean(gaps) if gaps else None
    ids = tuple(one.run_id for one in arms.records if one.finished)
    return TableCell(mean_and_deviation(gaps), mean, ids, flag_of(arms.records), tuple(gaps))


def _number(value: float | None) -> TableCell:
    return TableCell("-" if value is None else number(value), value)
