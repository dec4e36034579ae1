"""From differences to words: the answer of each, of all together, and a claim's verdict."""

from collections.abc import Sequence
from typing import Literal

from fused_clip.metrics.numbers import number
from fused_clip.report.studies.measurements import Gain
from fused_clip.report.studies.pairs import SAME, Comparison, signed

Holds = Literal[
    "holds",
    "holds only with labels",
    "does not hold",
    "not shown",
    "not measured",
    "holds with labels, not shown without",
    "holds with labels, not measured without",
]
Answer = Literal["yes", "no", "open", "not measured"]


def judge(with_labels: Answer, without: Answer | None) -> Holds:
    """Turn two answers into words.

    Parameters
    ----------
    with_labels : whether the claim holds when the true labels choose each training image's prompt.
    without : whether it also holds when they do not; None where it can't be asked without labels.
    """
    if with_labels == "no":
        return "does not hold"
    if with_labels == "open":
        return "not shown"
    if with_labels == "not measured":
        return "not measured"
    if without == "open":
        return "holds with labels, not shown without"
    if without == "not measured":
        return "holds with labels, not measured without"
    return "holds" if without == "yes" else "holds only with labels"


def everywhere(answers: Sequence[Answer], datasets: int) -> Answer:
    """Combine the answers of all datasets: one no is no, and yes needs a yes in each.

    Parameters
    ----------
    answers : one a dataset that has any.
    datasets : how many there are.
    """
    if "no" in answers:
        return "no"
    if len(answers) < datasets or not answers or "not measured" in answers:
        return "not measured"
    return "open" if "open" in answers else "yes"


def beats(one: Comparison) -> Answer:
    """Answer whether the first is better: no if it is significantly worse, or within .01.

    Parameters
    ----------
    one : the comparison.
    """
    if not one.whole:
        return "not measured"
    if one.better:
        return "yes"
    return "no" if one.worse or one.same else "open"


def equals(one: Comparison) -> Answer:
    """Answer whether the two are within .01: no if they differ significantly and may be further apart.

    Parameters
    ----------
    one : the comparison.
    """
    if not one.whole:
        return "not measured"
    if one.same:
        return "yes"
    return "no" if one.significant else "open"


def gained(gain: Gain) -> Answer:
    """Answer whether a gain is beyond the spread of seeds: no if its interval has no positive value.

    Parameters
    ----------
    gain : of one dataset.
    """
    if not gain.whole:
        return "not measured"
    if gain.interval.low > 0:
        return "yes"
    return "no" if gain.interval.high <= 0 else "open"


def against(pairs: Sequence[Comparison], datasets: int) -> str:
    """Write `tally` with the name of the rival.

    Parameters
    ----------
    pairs, datasets : as `tally` takes them.
    """
    return f"Against {pairs[0].second}: {tally(pairs, datasets)}"


def tally(pairs: Sequence[Comparison], datasets: int) -> str:
    """Write the range of the differences, and the number of datasets with each answer.

    Parameters
    ----------
    pairs : the comparisons of one question, one a dataset.
    datasets : how many there are.
    """
    known = [one for one in pairs if one.rows]
    counts = {
        "better": sum(one.better for one in known),
        "worse": sum(one.worse for one in known),
        f"within ±{number(SAME, 2)}": sum(one.same for one in known),
    }
    words = ", ".join(f"{word} in {count}" for word, count in counts.items())
    span = _range([one.interval.mean for one in known]) if known else "-"
    return f"{span}; {words} of {_measured(sum(one.whole for one in pairs), datasets)}"


def spans(gains: Sequence[Gain], datasets: int) -> str:
    """Write the range of the gains, and the number of datasets where they exceed the spread of seeds.

    Parameters
    ----------
    gains : one a dataset.
    datasets : how many there are.
    """
    higher = sum(gain.interval.low > 0 for gain in gains)
    span = _range([gain.interval.mean for gain in gains])
    measured = _measured(sum(gain.whole for gain in gains), datasets)
    return f"{span}; higher beyond the spread of seeds in {higher} of {measured}"


def _measured(whole: int, datasets: int) -> str:
    """Write the number of datasets, and of those with missing runs."""
    holes = f" ({datasets - whole} not measured in full)" if whole < datasets else ""
    return f"{datasets} datasets{holes}"


def _range(numbers: Sequence[float]) -> str:
    low, high = signed(min(numbers)), signed(max(numbers))
    return low if low == high else f"{low} to {high}"
