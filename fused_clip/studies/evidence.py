"""What the checks of the paper's claims look at: runs by setting, and accuracies compared."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from fused_clip.studies.pairs import Answers, Arm, Comparison, corrected
from fused_clip.studies.settings import chosen, dataset_name, values
from fused_clip.studies.significance import Interval, seed_interval
from fused_clip.tracking.records import RunRecord

_TWO_TARGETS, _IMAGE_ONLY = "image only, two targets", "reference/image_only"


class Evidence:
    """What the checks look at: the runs by dataset, and the accuracies compared, corrected together.

    Parameters
    ----------
    records : the table's cells and those that the claims ask for beside it.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self.records = records
        self.datasets = values(records, "dataset")

    def runs(self, dataset: str, **options: str) -> list[RunRecord]:
        """Finished runs of one setting, as `chosen` picks them."""
        return [
            record
            for record in chosen(self.records, **options)
            if record.finished and record.option("dataset") == dataset
        ]

    @cached_property
    def comparisons(self) -> Mapping[str, list[Comparison]]:
        """Accuracies compared, by what is asked; Holm's correction is over all of them."""
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
        """The pairs of arms that answer each question."""

        def arm(name: str, **options: str) -> Arm:
            return Arm(name, self.runs(dataset, **options))

        task, none = arm("task", prompt="task"), arm("image only", prompt="none")
        grouped = arm("grouped", prompt="grouped")
        blind = arm("grouped, zero-shot pairing", prompt="grouped", pairing="zero_shot")
        return {
            "task": (task, none),
            "task without labels": (
                arm("task, zero-shot pairing", prompt="task", pairing="zero_shot"),
                none,
            ),
            "swapped": (task, arm("swapped", prompt="swapped")),
            "grouped": (grouped, replace(grouped, name=_TWO_TARGETS, column=_IMAGE_ONLY)),
            "grouped without labels": (blind, replace(blind, name=_TWO_TARGETS, column=_IMAGE_ONLY)),
            "two clusters": (
                task,
                arm("task, one cluster a target", prompt="task", clusters_per_target="1"),
            ),
            "zero-shot": (task, replace(task, name="zero-shot", column="reference/zero_shot")),
        }

    def gains(self, metric: str, *, pairing: str = "oracle") -> Mapping[str, Interval]:
        """Seed by seed, a metric of ``task`` minus that of ``none``, by dataset."""
        found = {}
        for dataset in self.datasets:
            alone = {
                run.option("seed"): run.metrics[metric]
                for run in self.runs(dataset, prompt="none")
                if metric in run.metrics
            }
            gains = [
                run.metrics[metric] - alone[run.option("seed")]
                for run in self.runs(dataset, prompt="task", pairing=pairing)
                if metric in run.metrics and run.option("seed") in alone
            ]
            if gains:
                found[dataset_name(dataset)] = seed_interval(gains)
        return found

    def values(self, metric: str, *prompts: str, **options: str) -> list[tuple[RunRecord, float]]:
        """A metric of all runs with some prompts."""
        return [
            (run, run.metrics[metric])
            for dataset in self.datasets
            for prompt in prompts
            for run in self.runs(dataset, prompt=prompt, **options)
            if metric in run.metrics
        ]
