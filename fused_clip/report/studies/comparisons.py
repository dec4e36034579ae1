"""The arms of the audit and their rivals, on the same test rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fused_clip.method.reference import PREFIX, ReferenceFacts, known_references
from fused_clip.report.explained_columns import references_of
from fused_clip.report.studies.factors import NORMALISED
from fused_clip.report.studies.pairs import Answers, Arm, Comparison, corrected
from fused_clip.report.studies.settings import chosen, dataset_name, values
from fused_clip.report.summary import group_by
from fused_clip.tracking.records import RunRecord

CONTROLS = ("permuted", "rotated", "isotropic", "orthogonal")
Pair = tuple[Arm, Arm]


def audited(records: Sequence[RunRecord]) -> list[str]:
    """Return the datasets on which factors were varied.

    Parameters
    ----------
    records : cells of the study.
    """
    return values(chosen(records, prompt="task", text="rotated"), "dataset")


def comparisons(records: Sequence[RunRecord]) -> list[Comparison]:
    """Compare every arm with its rivals; Holm's correction is over all comparisons.

    Parameters
    ----------
    records : cells of the study.
    """
    answers = Answers()
    made = [
        answers.compare(dataset_name(dataset), *pair)
        for dataset in audited(records)
        for pair in _Setting(records, dataset).pairs()
    ]
    for (dataset, prompt), runs in without_labels(records).items():
        pairs = _against(Arm(f"{prompt}, no labels", runs), label_free(runs))
        made += [answers.compare(dataset_name(dataset), *pair) for pair in pairs]
    return corrected(made)


def without_labels(records: Sequence[RunRecord]) -> Mapping[tuple[str, ...], list[RunRecord]]:
    """Return the runs paired and named without labels, by dataset and prompt.

    Parameters
    ----------
    records : cells of the study.
    """
    return group_by(chosen(records, pairing="zero_shot", vote="prompt"), ["dataset", "prompt"])


def label_free(records: Sequence[RunRecord]) -> list[ReferenceFacts]:
    """Return the computed references that use no label, or only to name their clusters.

    Parameters
    ----------
    records : runs without labels.
    """
    return [facts for facts in references_of(records) if facts.uses_labels in ("no", "for the names")]


def _against(method: Arm, references: Sequence[ReferenceFacts]) -> list[Pair]:
    return [
        (method, replace(method, name=facts.title, column=f"{PREFIX}{facts.name}")) for facts in references
    ]


@dataclass(frozen=True)
class _Setting:
    """The arms of one dataset."""

    records: Sequence[RunRecord]
    dataset: str

    def arm(self, name: str, options: Mapping[str, str]) -> Arm:
        """Make an arm of the task prompts with some options changed."""
        return Arm(name, runs_at(self.records, self.dataset, options))

    def pairs(self) -> Iterator[Pair]:
        task = self.arm("task", {})
        for control in CONTROLS:
            yield task, self.arm(f"task, {control} text", {"text": control})
        # References "as the run" are the run itself with other text: the controls above are that question.
        rivals = [facts for facts in references_of(task.records) if facts.uses_labels != "as the run"]
        yield from _against(task, rivals)
        yield task, self.arm("task, one cluster a target", {"clusters_per_target": "1"})
        yield task, self.arm("task, zero-shot pairing", {"pairing": "zero_shot"})
        for part in ("inputs", "output", "both"):
            options, name = NORMALISED[part], f"task, {part} normalised"
            normalised = self.arm(name, options)
            yield normalised, task
            alone = known_references()["image_only"]
            yield from _against(normalised, [replace(alone, title=f"{alone.title}, {part} normalised")])
            yield normalised, self.arm(f"{name}, rotated text", {**options, "text": "rotated"})


def runs_at(records: Sequence[RunRecord], dataset: str, options: Mapping[str, str]) -> list[RunRecord]:
    """Return the runs of the task prompts on a dataset with some options changed.

    Parameters
    ----------
    records : cells of the study.
    dataset : its option.
    options : by their names on the command line.
    """
    changed = {name.replace(".", "__"): value for name, value in options.items()}
    found = chosen(records, prompt="task", **changed)
    return [record for record in found if record.option("dataset") == dataset]
