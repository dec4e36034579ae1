"""True minus swapped prompts, against how far apart the prompts are: measured, and in the paper's table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress

from fused_clip.metrics.catalogue import METRICS
from fused_clip.metrics.numbers import mean_and_deviation, number
from fused_clip.report.page import Block, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.studies.difference_table import bounds
from fused_clip.report.studies.pairs import Answers, Arm
from fused_clip.report.studies.published import load
from fused_clip.report.studies.settings import apart, chosen, circumstances, dataset_name, values
from fused_clip.report.studies.significance import UNKNOWN, Estimate
from fused_clip.report.studies.spacing_chart import GapPoint, draw_gaps
from fused_clip.report.summary import flag_of, summarize
from fused_clip.tracking.records import RunRecord

ACCURACY, SPACING, PURITY = "test/accuracy", "train/prompt_spacing", "train/prompt_purity"
INTERVAL = "95 % interval, uncorrected"
_WHOLE = 1.0  # the share that leaves the prompts in their places
_GAPS = (
    "Each prompt is moved towards the mean of all prompts, by a share of its distance to it. The spacing is "
    "the least distance between two fused prompts, divided by the median distance of a training row to its "
    "10th neighbour of the same prompt. Where no row has a neighbour of another prompt, both arms have the "
    "same clusters, pure in their prompt: the words cancel, and task and swapped predict alike. Prompt purity"
    " is the lower one of both arms. The interval of the mean gap is for other test images and other seeds."
)
_PUBLISHED = (
    "Over the same pure clusters in both arms the algebra gives a gap of exactly zero; only rounding can "
    "part them, at test rows that are equally near to two clusters. Pure clusters need not be the same: "
    "where rows have neighbours of another prompt, the arms may split the rows of a prompt differently. "
)
_REACHED = (
    "The last column is the largest measured spacing at which the interval of the mean gap reaches the "
    "published gap: its lower bound a negative one, its upper bound a positive one. There the runs do not "
    "exclude a gap of that size; few seeds or images exclude little. The intervals are uncorrected. The "
    "published table states neither spacing nor purity. A gap that is larger than those over pure clusters "
    "needs another cause: impure clusters, half precision, training rows shuffled without a seed, or targets "
    "without a cluster."
)


@dataclass(frozen=True)
class SpacedArms:
    """The runs of both arms on one dataset with prompts moved to one share.

    Parameters
    ----------
    dataset : its option.
    share : left of each prompt's distance to the mean, as the command line has it.
    task, swapped : runs of each, one a seed, finished or not.
    estimate : of accuracy of task minus that of swapped, for other test images and other seeds.
    """

    dataset: str
    share: str
    task: Sequence[RunRecord]
    swapped: Sequence[RunRecord]
    estimate: Estimate = UNKNOWN

    @property
    def records(self) -> list[RunRecord]:
        """Runs of both arms."""
        return [*self.task, *self.swapped]

    @cached_property
    def _pairs(self) -> list[tuple[RunRecord, RunRecord]]:
        """Both runs of each seed that has both accuracies."""
        other = {one.option("seed"): one for one in self.swapped if _has(one, ACCURACY)}
        return [
            (one, other[one.option("seed")])
            for one in self.task
            if _has(one, ACCURACY) and one.option("seed") in other
        ]

    @property
    def gaps(self) -> list[float]:
        """Accuracy of task minus that of swapped, of each seed that has both."""
        return [one.metrics[ACCURACY] - rival.metrics[ACCURACY] for one, rival in self._pairs]

    @property
    def pure_gaps(self) -> list[float]:
        """The gaps of the seeds in which every cluster of both arms is pure in its prompt."""
        pure = [all(run.metrics.get(PURITY, 0.0) >= 1 for run in pair) for pair in self._pairs]
        return list(compress(self.gaps, pure))

    def reaches(self, gap: float) -> bool:
        """Whether the 95 % interval of the mean gap reaches a gap from the side of zero.

        Parameters
        ----------
        gap : difference of two accuracies.
        """
        return self.estimate.high >= gap if gap > 0 else self.estimate.low <= gap

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
    words = [Prose(_PUBLISHED + pure_gaps_text(arms)), Prose(_REACHED)]
    return [
        Section(
            "The gap against the spacing", [Prose(_GAPS), *_chart(arms, setting), gap_table(arms, setting)]
        ),
        Section("The gaps of the paper's table", [*words, published_table(arms, setting)]),
    ]


def spaced_arms(records: Sequence[RunRecord]) -> list[SpacedArms]:
    """Group the cells by dataset and share, in the order of the sweep.

    Parameters
    ----------
    records : cells of one setting.
    """
    answers, found = Answers(), []
    for dataset in values(records, "dataset"):
        for share in values(records, "text.share"):
            task, swapped = (_cells(records, dataset, share, arm) for arm in ("task", "swapped"))
            compared = answers.compare(dataset, Arm("task", task), Arm("swapped", swapped))
            estimate = compared.estimate if compared else UNKNOWN
            found.append(SpacedArms(dataset, share, task, swapped, estimate))
    return found


def gap_table(arms: Sequence[SpacedArms], setting: str) -> Table:
    """Make a table of one row a dataset and share.

    Parameters
    ----------
    arms : of all datasets and shares.
    setting : backbone and data, for the caption.
    """
    columns = [
        "dataset", "share", METRICS[SPACING].title, METRICS[PURITY].title, "task", "swapped",
        "task - swapped", INTERVAL, "|task - swapped|",
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
            _interval(one.estimate),
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
        "dataset", "published task - swapped", "measured task - swapped", INTERVAL, METRICS[SPACING].title,
        METRICS[PURITY].title, "interval reaches it from spacing",
    ]  # fmt: skip
    rows = []
    for one in arms:
        if float(one.share) != _WHOLE or (one.dataset, "task", ACCURACY) not in numbers:
            continue
        gap = numbers[one.dataset, "task", ACCURACY] - numbers[one.dataset, "swapped", ACCURACY]
        own = [other for other in arms if other.dataset == one.dataset]
        rows.append(
            [
                TableCell(dataset_name(one.dataset)),
                TableCell(number(gap), gap),
                _gap(one, one.gaps),
                _interval(one.estimate),
                summarize(one.records, SPACING),
                _number(one.purity),
                _reached(gap, own),
            ]
        )
    return Table(f"Published and measured gaps. {setting}", columns, rows, "published_gaps")


def reached_from(gap: float, arms: Sequence[SpacedArms]) -> float | None:
    """Find the largest spacing at which the interval of the mean gap reaches a gap; None for none.

    Parameters
    ----------
    gap : difference of two accuracies.
    arms : of one dataset, with prompts moved to several shares.
    """
    spacings = [one.spacing for one in arms if one.reaches(gap)]
    return max((spacing for spacing in spacings if spacing is not None), default=None)


def pure_gaps_text(arms: Sequence[SpacedArms]) -> str:
    """Write a sentence on the gaps measured over pure clusters.

    Parameters
    ----------
    arms : of all datasets and shares.
    """
    gaps = [abs(gap) for one in arms for gap in one.pure_gaps]
    if not gaps:
        return "No seed has a prompt purity of 1 in both arms, so such gaps were not measured."
    return (
        f"Measured with a prompt purity of 1 in both arms, over all datasets, spacings and seeds: at most "
        f"{number(max(gaps))}, and exactly zero in {gaps.count(0)} of {len(gaps)} pairs of runs."
    )


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


def _interval(estimate: Estimate) -> TableCell:
    return TableCell(bounds(estimate), estimate.low if math.isfinite(estimate.low) else None)


def _reached(gap: float, arms: Sequence[SpacedArms]) -> TableCell:
    known = [one for one in arms if math.isfinite(one.estimate.error)]
    reached = reached_from(gap, known)
    return TableCell("nowhere") if known and reached is None else _number(reached)


def _number(value: float | None) -> TableCell:
    return TableCell("-" if value is None else number(value), value)
