"""What each arm of the audit is compared with, on the same test rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fused_clip.report.studies.pairs import Answers, Arm, Comparison, corrected
from fused_clip.report.studies.settings import chosen, dataset_name, values
from fused_clip.tracking.records import RunRecord

CONTROLS = ("permuted", "rotated", "isotropic", "orthogonal")
REFERENCES = {
    "zero_shot": "zero-shot",
    "image_only": "image only",
    "nearest_class_mean": "class means",
    "linear_probe": "linear probe",
}
LABEL_FREE = {
    "zero_shot": "zero-shot",
    "zero_shot_via_class": "zero-shot via class",
    "kmeans_hungarian": "k-means, matched",
    "image_only_hungarian": "image-only clusters, matched",
}
NORMALISED = {"inputs": ("true", "false"), "output": ("false", "true"), "both": ("true", "true")}
Pair = tuple[Arm, Arm]


def audited(records: Sequence[RunRecord]) -> list[str]:
    """Datasets on which factors were varied."""
    return values(chosen(records, prompt="task", text="rotated"), "dataset")


def comparisons(records: Sequence[RunRecord]) -> list[Comparison]:
    """Compare every arm with what it answers to; Holm's correction is over all of it."""
    answers = Answers()
    made = [
        answers.compare(dataset_name(dataset), *pair)
        for dataset in audited(records)
        for pair in _Setting(records, dataset).pairs()
    ]
    for (dataset, prompt), runs in without_labels(records).items():
        method = Arm(f"{prompt}, no labels", runs)
        made += [answers.compare(dataset_name(dataset), *pair) for pair in _against(method, LABEL_FREE)]
    return corrected(made)


def without_labels(records: Sequence[RunRecord]) -> Mapping[tuple[str, str], list[RunRecord]]:
    """Runs paired and named without labels, by dataset and prompt."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in chosen(records, pairing="zero_shot", vote="prompt"):
        groups.setdefault((record.option("dataset"), record.option("prompt")), []).append(record)
    return groups


def _against(method: Arm, references: Mapping[str, str]) -> list[Pair]:
    """An arm with the references of its own runs."""
    return [
        (method, replace(method, name=name, column=f"reference/{column}"))
        for column, name in references.items()
    ]


@dataclass(frozen=True)
class _Setting:
    """The arms of one dataset."""

    records: Sequence[RunRecord]
    dataset: str

    def arm(self, name: str, options: Mapping[str, str]) -> Arm:
        """Runs of the task prompts with some options changed."""
        return Arm(name, runs_at(self.records, self.dataset, options))

    def pairs(self) -> Iterator[Pair]:
        """Which arm is compared with which."""
        task = self.arm("task", {})
        for control in CONTROLS:
            yield task, self.arm(f"task, {control} text", {"text": control})
        yield from _against(task, REFERENCES)
        yield task, self.arm("task, one cluster a target", {"clusters_per_target": "1"})
        yield task, self.arm("task, zero-shot pairing", {"pairing": "zero_shot"})
        for what, (inputs, output) in NORMALISED.items():
            options = {"fusion.normalize_inputs": inputs, "fusion.normalize_output": output}
            name = f"task, {what} normalised"
            normalised = self.arm(name, options)
            yield normalised, task
            yield from _against(normalised, {"image_only": f"image only, {what} normalised"})
            yield normalised, self.arm(f"{name}, rotated text", {**options, "text": "rotated"})


def runs_at(records: Sequence[RunRecord], dataset: str, options: Mapping[str, str]) -> list[RunRecord]:
    """Runs of the task prompts on a dataset with some options changed."""
    changed = {name.replace(".", "__"): value for name, value in options.items()}
    found = chosen(records, prompt="task", **changed)
    return [record for record in found if record.option("dataset") == dataset]
