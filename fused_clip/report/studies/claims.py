"""The paper's claims as checks: each with its verdict on these runs and the evidence."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from fused_clip.metrics.numbers import number
from fused_clip.report.page import Table, TableCell
from fused_clip.report.studies.measurements import BLIND, Measurements
from fused_clip.report.studies.pairs import Answer, Comparison
from fused_clip.report.studies.published import load
from fused_clip.report.studies.settings import dataset_name
from fused_clip.report.studies.tallies import corrected_tallies, tally, uncorrected_tally
from fused_clip.report.summary import flag_of

DOMINATED = 0.95  # share of rows in clusters of their own prompt from which on the text dominates
WITH_TEXT = ("task", "swapped", "grouped", "hierarchical")
RIVALS = ("none", "swapped", "generic", "hierarchical")  # whose targets are the classes, as those of task
_NOT_ASKED = " Not measured with prompts paired by zero-shot."
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


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and its verdict.

    Parameters
    ----------
    name : the claim in a few words.
    verdict : of these runs.
    evidence : the numbers behind it, in sentences; its tests are uncorrected.
    corrected : the same tests after Holm's correction.
    run_ids : runs behind it.
    flag : problems of these runs, in a few words.
    """

    name: str
    verdict: ClaimVerdict = "not measured"
    evidence: str = ""
    corrected: str = ""
    run_ids: Sequence[str] = ()
    flag: str = ""


def check(measured: Measurements) -> list[Claim]:
    """Check every claim.

    Parameters
    ----------
    measured : the runs.
    """
    claims = [
        _better_structure(measured),
        _better_accuracy(measured, "Task prompts beat image only in accuracy", "none"),
        _swapped_equals_task(measured),
        _grouped_serves(measured),
        _better_accuracy(measured, "Two clusters a target beat one", "two clusters"),
        _nothing_missing(measured),
        _text_dominates(measured),
        _consistently_best(measured),
    ]
    runs = {record.run_id: record for record in measured.records}
    return [replace(claim, flag=flag_of([runs[name] for name in claim.run_ids])) for claim in claims]


def _better_structure(measured: Measurements) -> Claim:
    name = "Task prompts beat image only in ARI"
    oracle, blind = (measured.gains("train/ari", pairing=how) for how in ("oracle", "zero_shot"))
    if not oracle:
        return Claim(name)
    count = len(measured.datasets)
    answers = [everywhere([gain.is_positive for gain in gains], count) for gains in (oracle, blind)]
    words = f"Task minus image only: {uncorrected_tally(oracle, count)}."
    words += f" With prompts paired by zero-shot: {uncorrected_tally(blind, count)}." if blind else _NOT_ASKED
    ids = tuple(dict.fromkeys(run for gain in [*oracle, *blind] for run in gain.run_ids))
    return Claim(name, judge(*answers), words, corrected_tallies(count, oracle, blind), ids)


def _better_accuracy(measured: Measurements, name: str, question: str) -> Claim:
    oracle, blind = (measured.comparisons.get(words, []) for words in (question, question + BLIND))
    if not oracle:
        return Claim(name)
    count = len(measured.datasets)
    answers = [everywhere([one.is_better for one in some], count) for some in (oracle, blind)]
    words = f"Against {oracle[0].second}: {uncorrected_tally(oracle, count)}."
    words += f" With prompts paired by zero-shot: {uncorrected_tally(blind, count)}." if blind else _NOT_ASKED
    return Claim(name, judge(*answers), words, corrected_tallies(count, oracle, blind), _ids(oracle + blind))


def _grouped_serves(measured: Measurements) -> Claim:
    """Compare grouped with image only at two targets; the evidence names zero-shot too."""
    claim = _better_accuracy(measured, "Grouped prompts serve binary tasks", "grouped")
    asked = [measured.comparisons.get(f"grouped {rival}", []) for rival in ("zero-shot", "via class")]
    count = len(measured.datasets)
    words = [f"Against {some[0].second}: {uncorrected_tally(some, count)}." for some in asked if some]
    counted = [f"Against {some[0].second}: {tally(some, count, correct=True)}." for some in asked if some]
    ids = dict.fromkeys((*claim.run_ids, *_ids(chain(*asked))))
    return replace(
        claim,
        evidence=" ".join([claim.evidence, *words]),
        corrected=" ".join([claim.corrected, *counted]),
        run_ids=tuple(ids),
    )


def _swapped_equals_task(measured: Measurements) -> Claim:
    name = "Swapped prompts do as well as task prompts"
    pairs = measured.comparisons.get("swapped", [])
    if not pairs:
        return Claim(name)
    count = len(measured.datasets)
    words = (
        f"Task minus swapped: {uncorrected_tally(pairs, count)}. Wrong prompts can only be paired by labels."
    )
    verdict = judge(everywhere([one.is_equal for one in pairs], count), None)
    return Claim(name, verdict, words, corrected_tallies(count, pairs), _ids(pairs))


def _nothing_missing(measured: Measurements) -> Claim:
    name, metric = "No target goes missing", "missing_targets"
    oracle = measured.known(metric, *WITH_TEXT)
    blind = measured.known(metric, *WITH_TEXT, pairing="zero_shot")
    alone = measured.known(metric, "none")
    if not oracle:
        return Claim(name)
    answers = [_every_run(measured, metric, how, lambda value: value == 0) for how in ("oracle", "zero_shot")]
    counts = [sum(value > 0 for _, value in some) for some in (oracle, blind, alone)]
    words = f"Missing in {counts[0]} of {len(oracle)} runs with text"
    words += f", in {counts[1]} of {len(blind)} paired by zero-shot" if blind else ""
    words += f"; of image only in {counts[2]} of {len(alone)}." if alone else "."
    published = [
        f"class {', '.join(names)} of {dataset_name(dataset)}, under {prompt}"
        for (dataset, prompt), names in load().missing.items()
    ]
    words += f" In the published table: {'; '.join(published)}."
    words += "" if blind else _NOT_ASKED
    return Claim(
        name, judge(*answers), words, run_ids=tuple(run.run_id for run, _ in [*oracle, *blind, *alone])
    )


def _text_dominates(measured: Measurements) -> Claim:
    name, metric = "The text dominates the structure", "train/prompt_purity"
    oracle = measured.known(metric, *WITH_TEXT)
    blind = measured.known(metric, *WITH_TEXT, pairing="zero_shot")
    if not oracle:
        return Claim(name)
    answers = [
        _every_run(measured, metric, how, lambda share: share >= DOMINATED) for how in ("oracle", "zero_shot")
    ]
    least = [number(min((value for _, value in some), default=float("nan"))) for some in (oracle, blind)]
    words = f"Rows in a cluster of their own prompt, least of all runs: {least[0]}"
    words += f"; with prompts paired by zero-shot: {least[1]}." if blind else f".{_NOT_ASKED}"
    return Claim(name, judge(*answers), words, run_ids=tuple(run.run_id for run, _ in [*oracle, *blind]))


def _consistently_best(measured: Measurements) -> Claim:
    """Ask for better than every other strategy whose targets are the classes, in every dataset."""
    name = "Task prompts are consistently best"
    oracle, blind = (
        [some for rival in RIVALS if (some := measured.comparisons.get(rival + ending))]
        for ending in ("", BLIND)
    )
    if not oracle:
        return Claim(name)
    count = len(measured.datasets)
    answers = [
        everywhere([everywhere([one.is_better for one in some], count) for some in rivals], len(rivals))
        for rivals in (oracle, blind)
    ]
    words = f"The highest mean of {len(oracle) + 1} strategies in {_wins(oracle)} of {count} datasets"
    zero_shot = measured.comparisons.get("zero-shot", [])
    if zero_shot:
        words += f", ahead of zero-shot classification in {_wins([zero_shot])}"
    won, printed = _published_wins()
    words += f". In the published table: of three in {won} of {printed}."
    if blind:
        words += f" With prompts paired by zero-shot: of {len(blind) + 1} in {_wins(blind)} of {count}."
    ids = _ids(chain(*oracle, *blind, zero_shot))
    counted = [
        f"{some[0].first.capitalize()} against {some[0].second}: {tally(some, count, correct=True)}."
        for some in [*oracle, *blind]
    ]
    return Claim(name, judge(*answers), words + ("" if blind else _NOT_ASKED), " ".join(counted), ids)


def claims_table(claims: Sequence[Claim], caption: str) -> Table:
    """Make a table of the claims.

    Parameters
    ----------
    claims : with their verdicts.
    caption : of the table.
    """
    rows = [
        [
            TableCell(one.name),
            TableCell(one.verdict, None, one.run_ids, one.flag),
            TableCell(one.evidence),
            TableCell(one.corrected or "-"),
        ]
        for one in claims
    ]
    columns = ["claim", "verdict", "evidence, uncorrected", "evidence, Holm-corrected"]
    return Table(caption, columns, rows, "claims")


def _every_run(measured: Measurements, metric: str, pairing: str, good: Callable[[float], bool]) -> Answer:
    answers: list[Answer] = []
    for dataset in measured.datasets:
        runs = measured.runs(dataset, *WITH_TEXT, pairing=pairing)
        known = [run.metrics[metric] for run in runs if run.finished and metric in run.metrics]
        if not all(map(good, known)):
            answers.append("no")
        else:
            answers.append("yes" if known and len(known) == len(runs) else "not measured")
    return everywhere(answers, len(measured.datasets))


def _wins(rivals: Sequence[Sequence[Comparison]]) -> int:
    """Count the datasets in which the first has a strictly higher mean than every rival."""
    datasets = {one.dataset for some in rivals for one in some}
    return sum(
        all(one.estimate.mean > 0 for some in rivals for one in some if one.dataset == dataset)
        for dataset in datasets
    )


def _published_wins() -> tuple[int, int]:
    """Count the datasets of the published table in which ``task`` is the best ten-way strategy."""
    published = load()
    wins = [
        published.numbers[dataset, "task", "test/accuracy"]
        > max(published.numbers[dataset, rival, "test/accuracy"] for rival in ("none", "swapped"))
        for dataset in published.splits
    ]
    return sum(wins), len(wins)


def _ids(comparisons: Iterable[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run_id for one in comparisons for run_id in one.run_ids))


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
