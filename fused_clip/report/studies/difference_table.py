"""The table of accuracies compared, and the paragraph that explains its tests."""

import math
from collections.abc import Sequence

from fused_clip.metrics.numbers import number
from fused_clip.report.page import Block, Prose, Table, TableCell
from fused_clip.report.studies.pairs import Comparison
from fused_clip.report.studies.significance import Estimate

_TESTS = (
    "First minus second: accuracies on the same test rows, mean over seeds. The standard error is for "
    "other test images and for other seeds, which draw splits and drive fits: images and seeds are "
    "crossed random effects. The interval and the uncorrected p-value come from one t-test with this "
    "error, so the interval excludes zero exactly where this p-value is below .05."
)
_FAMILY = (
    "Holm's correction is over one family: {family}. These are {count} tests, one a row with a p-value, "
    "also where methods predict alike. A difference is significant if its corrected p-value is below .05."
)
_MARGIN = (
    "The margin of equivalence is a tenth of the smaller error rate of the two, as measured. Two methods "
    "are equal, uncorrected, where the interval lies within the margin. Exactly there the uncorrected "
    "p-value of equivalence, twice the larger one of two one-sided t-tests, is below .05. Equivalences have "
    "Holm's correction over the same rows, as a second family: the chance of any error in both families "
    "together is up to .10."
)
_DESCRIPTION = (
    "McNemar's exact test of each seed treats the fits as fixed; its smallest and largest p-value are "
    "given. It describes these fits, and no verdict uses it. Fewer than three seeds give no interval and "
    "no test."
)


def difference_blocks(comparisons: Sequence[Comparison], family: str, setting: str) -> list[Block]:
    """Make the explanation and the table of a family of comparisons.

    Parameters
    ----------
    comparisons : after the correction.
    family : the comparisons in words.
    setting : backbone and data, for the caption.
    """
    count = sum(one.tested for one in comparisons)
    words = [_TESTS, _FAMILY.format(family=family, count=count), _MARGIN, _DESCRIPTION]
    return [*map(Prose, words), difference_table(comparisons, setting)]


def difference_table(comparisons: Sequence[Comparison], setting: str) -> Table:
    """Make a table of one row a comparison.

    Parameters
    ----------
    comparisons : after the correction.
    setting : backbone and data, for the caption.
    """
    columns = [
        "dataset", "first", "second", "first - second", "95 % interval, uncorrected", "p, uncorrected",
        "p, Holm", "significant, Holm", "margin", "p of equivalence, uncorrected",
        "p of equivalence, Holm", "seeds", "test rows", "only first right", "only second right",
        "McNemar's p of the seeds",
    ]  # fmt: skip
    rows = [
        [
            *map(TableCell, (one.dataset, one.first, one.second)),
            TableCell(signed(one.estimate.mean), _finite(one.estimate.mean), one.run_ids, one.flag),
            TableCell(bounds(one.estimate), _finite(one.estimate.low)),
            *(TableCell(_p_text(p), _finite(p)) for p in (one.estimate.p_value, one.corrected)),
            TableCell("yes" if one.significant else "no" if math.isfinite(one.corrected) else "-"),
            TableCell(f"±{number(one.margin)}" if one.rows else "-", _finite(one.margin)),
            *(TableCell(_p_text(p), _finite(p)) for p in (one.equivalence, one.corrected_equivalence)),
            *(
                TableCell(str(count), count)
                for count in (one.seeds, one.rows, one.only_first, one.only_second)
            ),
            TableCell(" to ".join(dict.fromkeys(map(_p_text, _ends(one.mcnemar)))) or "-"),
        ]
        for one in comparisons
    ]
    return Table(f"Accuracies compared. {setting}", columns, rows, "differences")


def _ends(values: Sequence[float]) -> Sequence[float]:
    return (min(values), max(values)) if values else ()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _p_text(value: float) -> str:
    return "< .001" if value < 0.001 else number(value, 3)


def signed(value: float) -> str:
    """Format a difference with its sign: +.0010, -.0010, .0000.

    Parameters
    ----------
    value : any.
    """
    text = number(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def bounds(estimate: Estimate) -> str:
    """Format the 95 % interval: [-.0010, +.0020]; ``-`` without an error.

    Parameters
    ----------
    estimate : of a difference.
    """
    low, high = estimate.low, estimate.high
    return f"[{signed(low)}, {signed(high)}]" if math.isfinite(low) else "-"
