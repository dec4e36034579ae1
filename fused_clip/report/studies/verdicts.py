"""From the answers of each dataset to a claim's verdict, and the evidence in words."""

from collections.abc import Sequence
from typing import Literal

from fused_clip.metrics.numbers import number
from fused_clip.report.studies.measurements import Gain
from fused_clip.report.studies.pairs import SAME, Answer, Comparison, signed

ClaimVerdict = Literal[
    "supported",
    "supported only with labels",
    "refuted",
    "not shown",
    "not measured",
    "supported with labels, not shown without",
    "supported with labels, not measured without",
]
_WITH_LABELS: dict[Answer, ClaimVerdict] = {
    "no": "refuted", "open": "not shown", "not measured": "not measured",
}  # fmt: skip
_WITHOUT: dict[Answer | None, ClaimVerdict] = {
    "yes": "supported",
    "no": "supported only with labels",
    "open": "supported with labels, not shown without",
    "not measured": "supported with labels, not measured without",
    None: "supported only with labels",
}


def judge(with_labels: Answer, without: Answer | None) -> ClaimVerdict:
    """Combine the answers with and without labels into a verdict.

    Parameters
    ----------
    with_labels : answer where the true labels choose each training image's prompt.
    without : answer where no label does; None for a question that needs labels.
    """
    return _WITH_LABELS.get(with_labels, _WITHOUT[without])


def everywhere(answers: Sequence[Answer], datasets: int) -> Answer:
    """Combine the answers of all datasets: one "no" refutes, and "yes" needs a "yes" in each.

    Parameters
    ----------
    answers : one a dataset that has any.
    datasets : number of all datasets.
    """
    if "no" in answers:
        return "no"
    if len(answers) < datasets or not answers or "not measured" in answers:
        return "not measured"
    return "open" if "open" in answers else "yes"


def tally(pairs: Sequence[Comparison], datasets: int) -> str:
    """Write the range of the differences, and the number of datasets with each answer.

    Parameters
    ----------
    pairs : the comparisons of one question, one a dataset.
    datasets : number of all datasets.
    """
    known = [one for one in pairs if one.rows]
    better, worse, same = (sum(getattr(one, name) for one in known) for name in ("better", "worse", "same"))
    counts = f"better in {better}, worse in {worse}, within ±{number(SAME, 2)} in {same}"
    return f"{_range([one.interval.mean for one in known])}; {counts} of {_measured(pairs, datasets)}"


def spans(gains: Sequence[Gain], datasets: int) -> str:
    """Write the range of the gains, and the number of datasets where they exceed the spread of seeds.

    Parameters
    ----------
    gains : one a dataset.
    datasets : number of all datasets.
    """
    higher = f"higher beyond the spread of seeds in {sum(gain.interval.low > 0 for gain in gains)}"
    return f"{_range([gain.interval.mean for gain in gains])}; {higher} of {_measured(gains, datasets)}"


def _measured(found: Sequence[Comparison | Gain], datasets: int) -> str:
    missing = datasets - sum(one.whole for one in found)
    return f"{datasets} datasets" + (f" ({missing} not measured in full)" if missing else "")


def _range(numbers: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(signed(end(numbers)) for end in (min, max))) if numbers else "-"
