"""From differences to words: what one shows, what all of them do, and how a claim's verdict reads."""

from collections.abc import Sequence
from typing import Literal

from fused_clip.report.studies.measurements import Gain
from fused_clip.report.studies.pairs import SAME, Comparison, signed
from fused_clip.report.summary import number

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
    """The answer for all datasets: shown otherwise in one, it is no; else it must be shown in all."""
    if "no" in answers:
        return "no"
    if len(answers) < datasets or not answers or "not measured" in answers:
        return "not measured"
    return "open" if "open" in answers else "yes"


def beats(one: Comparison) -> Answer:
    """Whether the first is better: no if it is really worse, or surely no more than .01 away."""
    if not one.whole:
        return "not measured"
    if one.better:
        return "yes"
    return "no" if one.worse or one.same else "open"


def equals(one: Comparison) -> Answer:
    """Whether the two are surely no more than .01 apart: no if they really differ and it isn't sure."""
    if not one.whole:
        return "not measured"
    if one.same:
        return "yes"
    return "no" if one.real else "open"


def gained(gain: Gain) -> Answer:
    """Whether a gain is beyond the spread of seeds: no if it surely is none."""
    if not gain.whole:
        return "not measured"
    if gain.interval.low > 0:
        return "yes"
    return "no" if gain.interval.high <= 0 else "open"


def against(pairs: Sequence[Comparison], datasets: int) -> str:
    """`tally` with the name of the rival."""
    return f"Against {pairs[0].second}: {tally(pairs, datasets)}"


def tally(pairs: Sequence[Comparison], datasets: int) -> str:
    """The range of the differences, and in how many datasets there is which answer."""
    known = [one for one in pairs if one.rows]
    counts = {
        "better": sum(one.better for one in known),
        "worse": sum(one.worse for one in known),
        f"surely within ±{number(SAME, 2)}": sum(one.same for one in known),
    }
    words = ", ".join(f"{word} in {count}" for word, count in counts.items())
    span = _range([one.interval.mean for one in known]) if known else "-"
    return f"{span}; {words} of {_measured(sum(one.whole for one in pairs), datasets)}"


def spans(gains: Sequence[Gain], datasets: int) -> str:
    """The range of the gains, and in how many datasets they are beyond the spread of seeds."""
    higher = sum(gain.interval.low > 0 for gain in gains)
    span = _range([gain.interval.mean for gain in gains])
    measured = _measured(sum(gain.whole for gain in gains), datasets)
    return f"{span}; higher beyond the spread of seeds in {higher} of {measured}"


def _measured(whole: int, datasets: int) -> str:
    """The number of datasets, and of those that are not whole."""
    holes = f" ({datasets - whole} not measured in full)" if whole < datasets else ""
    return f"{datasets} datasets{holes}"


def _range(numbers: Sequence[float]) -> str:
    low, high = signed(min(numbers)), signed(max(numbers))
    return low if low == high else f"{low} to {high}"
