"""The paper's claims as checks: what each says, whether it holds on these runs, and what shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fused_clip.report.page import Cell, Table
from fused_clip.report.summary import number
from fused_clip.studies.evidence import Evidence
from fused_clip.studies.pairs import Comparison, signed
from fused_clip.studies.published import load
from fused_clip.studies.significance import Interval

Holds = Literal["holds", "holds only with labels", "does not hold", "not measured"]
SAME = 0.01  # accuracies closer than this are called equal
DOMINATED = 0.95  # share of rows in clusters of their own prompt from which on the text dominates
CLASS_PROMPTS = ("task", "none", "swapped", "generic", "hierarchical")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and what became of it."""

    name: str
    holds: Holds
    evidence: str
    run_ids: Sequence[str] = ()


_NOT_ASKED = " Not measured with prompts paired without labels."


def judge(with_labels: bool, without: bool | None) -> Holds:
    """Turn two answers into a word.

    Parameters
    ----------
    with_labels : whether the claim holds when the true labels choose each training image's prompt.
    without : whether it also holds when they do not; None where it can't be asked without labels.
    """
    if not with_labels:
        return "does not hold"
    return "holds" if without else "holds only with labels"


def check(evidence: Evidence) -> list[Claim]:
    """Check every claim."""
    return [
        better_structure(evidence),
        better_accuracy(evidence, "Task prompts beat image only in accuracy", "task", "task without labels"),
        swapped_equals_task(evidence),
        better_accuracy(evidence, "Grouped prompts serve binary tasks", "grouped", "grouped without labels"),
        two_clusters(evidence),
        nothing_missing(evidence),
        text_dominates(evidence),
        consistently_best(evidence),
    ]


def better_structure(evidence: Evidence) -> Claim:
    """Task against image only in ARI, seed by seed, in every dataset."""
    name = "Task prompts beat image only in ARI"
    oracle, blind = (evidence.gains("train/ari", pairing=how) for how in ("oracle", "zero_shot"))
    if not oracle:
        return Claim(name, "not measured", "")
    answers = [all(gain.low > 0 for gain in gains.values()) for gains in (oracle, blind)]
    words = f"Task minus image only: {_spans(oracle)}."
    words += f" With prompts paired without labels: {_spans(blind)}." if blind else _NOT_ASKED
    return Claim(name, judge(answers[0], bool(blind) and answers[1]), words)


def better_accuracy(evidence: Evidence, name: str, with_labels: str, without: str) -> Claim:
    """A really higher accuracy in every dataset."""
    oracle, blind = (evidence.comparisons.get(words, []) for words in (with_labels, without))
    if not oracle:
        return Claim(name, "not measured", "")
    answers = [bool(some) and all(one.better for one in some) for some in (oracle, blind)]
    words = f"Against {oracle[0].second}: {_tally(oracle)}."
    words += f" With prompts paired without labels: {_tally(blind)}." if blind else _NOT_ASKED
    return Claim(name, judge(answers[0], answers[1]), words, _ids(oracle + blind))


def swapped_equals_task(evidence: Evidence) -> Claim:
    """Accuracies whose difference is surely below .01, in every dataset; swapping needs labels."""
    name = "Swapped prompts do as well as task prompts"
    pairs = evidence.comparisons.get("swapped", [])
    if not pairs:
        return Claim(name, "not measured", "")
    same = [one for one in pairs if max(-one.interval.low, one.interval.high) < SAME]
    words = (
        f"Task minus swapped: {_range([one.interval.mean for one in pairs])}; the interval lies within "
        f"±{number(SAME, 2)} in {len(same)} of {len(pairs)} datasets. "
        "Wrong prompts can only be paired by labels."
    )
    return Claim(name, judge(len(same) == len(pairs), None), words, _ids(pairs))


def two_clusters(evidence: Evidence) -> Claim:
    """A really higher accuracy with two clusters a target than with one, in every dataset."""
    name = "Two clusters a target beat one"
    pairs = evidence.comparisons.get("two clusters", [])
    if not pairs:
        return Claim(name, "not measured", "")
    holds: Holds = "holds" if all(one.better for one in pairs) else "does not hold"
    return Claim(name, holds, f"Two minus one: {_tally(pairs)}.", _ids(pairs))


def nothing_missing(evidence: Evidence) -> Claim:
    """No target without a cluster in any run with text."""
    name = "No target goes missing"
    with_text = ("task", "swapped", "grouped", "hierarchical")
    oracle = evidence.values("missing_targets", *with_text)
    blind = evidence.values("missing_targets", *with_text, pairing="zero_shot")
    alone = evidence.values("missing_targets", "none")
    if not oracle:
        return Claim(name, "not measured", "")
    counts = [sum(value > 0 for _, value in some) for some in (oracle, blind, alone)]
    words = f"Missing in {counts[0]} of {len(oracle)} runs with text"
    words += f", in {counts[1]} of {len(blind)} paired without labels" if blind else ""
    words += f"; of image only in {counts[2]} of {len(alone)}." if alone else "."
    words += " In the published table: class 96 of subset 5, under task."
    words += "" if blind else _NOT_ASKED
    runs = tuple(run.run_id for run, value in [*oracle, *blind] if value)
    return Claim(name, judge(counts[0] == 0, bool(blind) and counts[1] == 0), words, runs)


def text_dominates(evidence: Evidence) -> Claim:
    """Clusters that follow the prompts: nearly every row lies in a cluster of its own prompt."""
    name = "The text dominates the structure"
    prompts = ("task", "swapped", "grouped", "hierarchical")
    oracle = evidence.values("train/prompt_purity", *prompts)
    blind = evidence.values("train/prompt_purity", *prompts, pairing="zero_shot")
    if not oracle:
        return Claim(name, "not measured", "")
    shares = [min((value for _, value in some), default=0.0) for some in (oracle, blind)]
    words = f"Rows in a cluster of their own prompt, least of all runs: {number(shares[0])}"
    words += f"; with prompts paired without labels: {number(shares[1])}." if blind else f".{_NOT_ASKED}"
    return Claim(name, judge(shares[0] >= DOMINATED, shares[1] >= DOMINATED), words)


def consistently_best(evidence: Evidence) -> Claim:
    """The highest mean accuracy among the strategies whose targets are the classes, in every dataset."""
    name = "Task prompts are consistently best"
    best = []
    for dataset in evidence.datasets:
        means = {}
        for prompt in CLASS_PROMPTS:
            runs = evidence.runs(dataset, prompt=prompt)
            scores = [run.metrics["test/accuracy"] for run in runs if "test/accuracy" in run.metrics]
            if scores:
                means[prompt] = sum(scores) / len(scores)
        if "task" in means and len(means) > 1:
            best.append(means["task"] >= max(means.values()))
    if not best:
        return Claim(name, "not measured", "")
    words = f"Best of {len(CLASS_PROMPTS)} strategies in {sum(best)} of {len(best)} datasets"
    zero_shot = evidence.comparisons.get("zero-shot", [])
    if zero_shot:
        ahead = sum(one.interval.mean > 0 for one in zero_shot)
        words += f", ahead of zero-shot classification in {ahead} of {len(zero_shot)}"
    won, count = _published_wins()
    words += f". In the published table: best of three in {won} of {count}."
    return Claim(name, "holds" if all(best) else "does not hold", words, _ids(zero_shot))


def claims_table(claims: Sequence[Claim], caption: str) -> Table:
    """One row a claim."""
    rows = [[Cell(one.name), Cell(one.holds, None, one.run_ids), Cell(one.evidence)] for one in claims]
    return Table(caption, ["claim", "verdict", "evidence"], rows, "claims")


def _published_wins() -> tuple[int, int]:
    """In how many datasets of the published table ``task`` has the highest accuracy of ten-way strategies."""
    published = load()
    rows = [
        {p: published.numbers[dataset, p, "test/accuracy"] for p in ("task", "none", "swapped")}
        for dataset in published.splits
    ]
    return sum(row["task"] == max(row.values()) for row in rows), len(rows)


def _tally(pairs: Sequence[Comparison]) -> str:
    better = sum(one.better for one in pairs)
    worse = sum(one.real and not one.better for one in pairs)
    span = _range([one.interval.mean for one in pairs])
    return f"{span}; really better in {better} and worse in {worse} of {len(pairs)} datasets"


def _spans(gains: Mapping[str, Interval]) -> str:
    higher = sum(gain.low > 0 for gain in gains.values())
    span = _range([gain.mean for gain in gains.values()])
    return f"{span}; higher beyond the spread of seeds in {higher} of {len(gains)} datasets"


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return signed(low) if len(numbers) == 1 else f"{signed(low)} to {signed(high)}"


def _ids(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run_id for one in comparisons for run_id in one.run_ids))
