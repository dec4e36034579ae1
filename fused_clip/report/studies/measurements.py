"""Measurements behind the paper's claims: runs by setting, and accuracies compared."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from fused_clip.method.reference import PREFIX, known_references
from fused_clip.report.studies.pairs import Answer, Answers, Arm, Comparison, corrected
from fused_clip.report.studies.settings import chosen, dataset_name, values
from fused_clip.report.studies.significance import Difference, holm, seed_estimate
from fused_clip.tracking.records import RunRecord

BLIND = " without labels"  # how the questions about prompts paired by zero-shot end


@dataclass(frozen=True)
class Gain(Difference):
    """A metric of ``task`` minus that of ``none``, seed by seed, on one dataset.

    The estimate is of the mean over seeds; the correction is over the datasets of one pairing.

    Parameters
    ----------
    whole : whether every planned seed has both.
    run_ids : runs of both.
    """

    whole: bool
    run_ids: Sequence[str]

    @property
    def is_positive(self) -> Answer:
        """Whether the gain is beyond the spread of seeds: "no" if it is negative after correction."""
        if not self.whole:
            return "not measured"
        return "yes" if self.better(correct=False) else "no" if self.worse(correct=True) else "open"


class Measurements:
    """Runs by dataset, and their accuracies compared, corrected together.

    Parameters
    ----------
    records : the table's cells and the further ones that the claims ask for.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self.records = records
        self.datasets = values(records, "dataset")

    def runs(self, dataset: str, *prompts: str, **options: str) -> list[RunRecord]:
        """Return the cells of one setting with some prompts, finished or not.

        Parameters
        ----------
        dataset, prompts, options : options of the command line, as `chosen` takes them.
        """
        return [
            record
            for prompt in prompts
            for record in chosen(self.records, prompt=prompt, **options)
            if record.option("dataset") == dataset
        ]

    @cached_property
    def comparisons(self) -> Mapping[str, list[Comparison]]:
        """Accuracies compared, by question; Holm's correction is over all of them."""
        answers = Answers()
        asked = [
            (question, answers.compare(dataset_name(dataset), first, second))
            for dataset in self.datasets
            for question, (first, second) in self._questions(dataset).items()
        ]
        made = [(question, one) for question, one in asked if one is not None]
        found: dict[str, list[Comparison]] = {}
        for (question, _), one in zip(made, corrected([one for _, one in made]), strict=True):
            found.setdefault(question, []).append(one)
        return found

    def _questions(self, dataset: str) -> Mapping[str, tuple[Arm, Arm]]:
        """Return the arms that answer each question, with labels and, where possible, without."""
        swapped = self._arm(dataset, "task"), self._arm(dataset, "swapped")
        blind = self._asked(dataset, ", zero-shot pairing", pairing="zero_shot")
        unlabelled = {f"{question}{BLIND}": pair for question, pair in blind.items()}
        return {**self._asked(dataset, ""), "swapped": swapped, **unlabelled}

    def _asked(self, dataset: str, words: str, **options: str) -> Mapping[str, tuple[Arm, Arm]]:
        """Return the questions of one pairing; one prompt or none needs no pairing."""
        task, grouped = (self._arm(dataset, prompt, words, **options) for prompt in ("task", "grouped"))
        one = self._arm(dataset, "task", f"{words}, one cluster a target", clusters_per_target="1", **options)
        return {
            "none": (task, self._arm(dataset, "none")),
            "generic": (task, self._arm(dataset, "generic")),
            "hierarchical": (task, self._arm(dataset, "hierarchical", words, **options)),
            "two clusters": (task, one),
            "zero-shot": (task, _reference(task, "zero_shot")),
            "grouped": (grouped, _reference(grouped, "image_only", ", two targets")),
            "grouped zero-shot": (grouped, _reference(grouped, "zero_shot")),
            "grouped via class": (grouped, _reference(grouped, "zero_shot_via_class")),
        }

    def _arm(self, dataset: str, prompt: str, words: str = "", **options: str) -> Arm:
        name = "image only" if prompt == "none" else prompt
        return Arm(f"{name}{words}", self.runs(dataset, prompt, **options))

    def gains(self, metric: str, *, pairing: str = "oracle") -> list[Gain]:
        """Subtract a metric of ``none`` from that of ``task``, seed by seed: one gain a dataset with both.

        Parameters
        ----------
        metric, pairing : name of the metric, and pairing of ``task``.
        """
        found = []
        for dataset in self.datasets:
            runs = self.runs(dataset, "task", pairing=pairing)
            alone = {run.option("seed"): run for run in self.runs(dataset, "none")}
            kept = [
                (run, alone[seed])
                for run in runs
                if (seed := run.option("seed")) in alone and _have(metric, run, alone[seed])
            ]
            if kept:
                estimate = seed_estimate([run.metrics[metric] - one.metrics[metric] for run, one in kept])
                whole = len(kept) == len({run.option("seed") for run in [*runs, *alone.values()]})
                ids = tuple(run.run_id for pair in kept for run in pair)
                found.append(Gain(whole, ids, estimate=estimate))
        tested = [place for place, gain in enumerate(found) if not math.isnan(gain.estimate.error)]
        values = holm([found[place].estimate.p_value for place in tested])
        for place, value in zip(tested, values, strict=True):
            found[place] = replace(found[place], corrected=value)
        return found

    def known(self, metric: str, *prompts: str, **options: str) -> list[tuple[RunRecord, float]]:
        """Return a metric of all finished runs with some prompts.

        Parameters
        ----------
        metric, prompts, options : name of the metric; the others as `runs` takes them.
        """
        return [
            (run, run.metrics[metric])
            for dataset in self.datasets
            for run in self.runs(dataset, *prompts, **options)
            if _have(metric, run)
        ]


def _have(metric: str, *runs: RunRecord) -> bool:
    return all(run.finished and metric in run.metrics for run in runs)


def _reference(arm: Arm, name: str, words: str = "") -> Arm:
    """Make an arm of a reference of an arm's own runs."""
    return replace(arm, name=f"{known_references()[name].title}{words}", column=f"{PREFIX}{name}")
