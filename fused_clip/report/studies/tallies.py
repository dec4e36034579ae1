"""Tests of all datasets in words: in how many the first is better, worse or equal."""

from collections.abc import Callable, Sequence

from fused_clip.metrics.numbers import number
from fused_clip.report.studies.difference_table import signed
from fused_clip.report.studies.measurements import Gain
from fused_clip.report.studies.pairs import Comparison

Tests = Sequence[Comparison] | Sequence[Gain]


def uncorrected_tally(tests: Tests, datasets: int) -> str:
    """Write the range of the differences and the counts of the uncorrected tests.

    Parameters
    ----------
    tests : at most one a dataset.
    datasets : number of all datasets.
    """
    means = [one.estimate.mean for one in tests if one.run_ids]
    return f"{_range(means)}; {tally(tests, datasets, correct=False)}"


def corrected_tallies(datasets: int, oracle: Tests, blind: Tests = ()) -> str:
    """Write the counts of the corrected tests, in sentences.

    Parameters
    ----------
    datasets : number of all datasets.
    oracle, blind : tests with prompts paired by labels, and without.
    """
    words = f"{tally(oracle, datasets, correct=True).capitalize()}."
    return words + (f" Paired by zero-shot: {tally(blind, datasets, correct=True)}." if blind else "")


def tally(tests: Tests, datasets: int, *, correct: bool) -> str:
    """Count the datasets with each answer.

    Parameters
    ----------
    tests : at most one a dataset.
    datasets : number of all datasets.
    correct : all tests with Holm's correction, or all taken alone.
    """
    better = sum(one.better(correct=correct) for one in tests)
    worse = sum(one.worse(correct=correct) for one in tests)
    words = f"better in {better}, worse in {worse}"
    compared = [one for one in tests if isinstance(one, Comparison) and one.rows]
    if compared:
        equal = sum(one.equal(correct=correct) for one in compared)
        words += f", equal within ±{_range([one.margin for one in compared], number)} in {equal}"
    missing = datasets - sum(one.whole for one in tests)
    return f"{words} of {datasets} datasets" + (f" ({missing} not measured in full)" if missing else "")


def _range(numbers: Sequence[float], text: Callable[[float], str] = signed) -> str:
    return " to ".join(dict.fromkeys(text(end(numbers)) for end in (min, max))) if numbers else "-"
