"""The audit: one factor at a time around the paper's setting, and what the words contribute."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fused_clip.method.reference import PREFIX, ReferenceFacts, known_references
from fused_clip.metrics.catalogue import CONTRIBUTIONS, METRICS
from fused_clip.report.explained_columns import columns_table, references_of
from fused_clip.report.page import Block, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.rivals import rivals
from fused_clip.report.studies.curves import METHOD, Panel, draw_curves
from fused_clip.report.studies.difference_table import difference_blocks
from fused_clip.report.studies.factors import FACTORS, NORMALISED, Factor
from fused_clip.report.studies.pairs import Answers, Arm, Comparison, corrected
from fused_clip.report.studies.settings import (
    apart,
    chosen,
    circumstances,
    dataset_name,
    missing_targets,
    values,
)  # fmt: skip
from fused_clip.report.summary import group_by, summarize, supervision
from fused_clip.tracking.records import RunRecord

MEASURES = ("test/accuracy", "train/ari", "train/purity")
CONTROLS = ("permuted", "rotated", "isotropic", "orthogonal")
_WITHOUT_LABELS = (
    "Each training image is fused with its nearest prompt, and each cluster is named by its most frequent"
    " prompt: no label of a training image is used. The clusterings of images alone have one cluster a"
    " target; which cluster is which target is chosen by the training labels (Hungarian matching), so their"
    " names use labels and their clusters do not."
)

_FAMILY = (
    "in each dataset with varied factors, task against the text controls, the references that are not the "
    "run with other text, one cluster a target and zero-shot pairing; with inputs, output or both "
    "normalised, against task, and against image only and rotated text normalised alike; in every "
    "dataset, the runs without labels against the references without labels"
)


def page(records: Sequence[RunRecord]) -> Page:
    """Make the study's page.

    Parameters
    ----------
    records : cells of ``experiment=text_contribution``.
    """
    sections, problems = apart(records, _sections)
    return Page("What the words contribute", sections, problems)


def _sections(records: Sequence[RunRecord]) -> list[Section]:
    setting = circumstances(records)
    compared = comparisons(records)
    return [
        Section("Which differences are significant", difference_blocks(compared, _FAMILY, setting)),
        *(Section(factor.title, _factor_blocks(records, factor, setting)) for factor in FACTORS),
        Section("Without training labels", _without_training_labels(records, setting)),
        Section("The references", [columns_table(references_of(records), records)]),
    ]


def _factor_blocks(records: Sequence[RunRecord], factor: Factor, setting: str) -> list[Block]:
    runs = {
        (dataset, level): _runs_at(records, dataset, options)
        for dataset in _audited(records)
        for level, options in factor.levels.items()
    }
    caption = f"Accuracy, ARI and purity against one factor: {factor.axis}; bars are one standard deviation. "
    table = _factor_table(runs, factor, setting)
    if not any(record.finished for some in runs.values() for record in some):
        return [table]
    panels = [
        panel
        for dataset in _audited(records)
        for panel in panels_of(dataset, [runs[dataset, level] for level in factor.levels])
    ]
    png = draw_curves(panels, list(factor.levels), factor.axis, steps=factor.steps, setting=setting)
    return [Figure(caption + setting, png), table]


def _factor_table(runs: Mapping[tuple[str, str], Sequence[RunRecord]], factor: Factor, setting: str) -> Table:
    known = [record for some in runs.values() for record in some]
    references = references_of(known)
    shown = [METRICS[name] for name in (*MEASURES, "train/prompt_purity", *CONTRIBUTIONS)]
    metrics = [*(one.name for one in shown), *(one.accuracy for one in references)]
    names = [*(one.title for one in shown), *(one.title for one in references)]
    rows = [
        [TableCell(dataset_name(dataset)), TableCell(level), *(summarize(some, metric) for metric in metrics)]
        for (dataset, level), some in runs.items()
    ]
    caption = f"{factor.title}. {setting} {rivals(known, dataset_name)}".strip()
    return Table(caption, ["dataset", factor.axis, *names], rows, factor.name)


def panels_of(dataset: str, runs: Sequence[Sequence[RunRecord]]) -> list[Panel]:
    """Draw the three measures at each level, each with all references that these runs have of it.

    Parameters
    ----------
    dataset : its option.
    runs : of each level.
    """
    panels = []
    references = references_of([record for some in runs for record in some])
    for metric in MEASURES:
        measure = METRICS[metric].title
        lines = {METHOD: [_values(some, metric) for some in runs]}
        for facts in references:
            name = f"{PREFIX}{facts.name}_{metric.rpartition('/')[2]}"
            values = [_values(some, name) for some in runs]
            lines |= {facts.title: values} if any(values) else {}
        panels.append(Panel(dataset_name(dataset), measure, lines))
    return panels


def _values(records: Sequence[RunRecord], metric: str) -> list[float]:
    return [record.metrics[metric] for record in records if record.finished and metric in record.metrics]


def _without_training_labels(records: Sequence[RunRecord], setting: str) -> list[Block]:
    groups = _without_labels(records)
    known = [record for runs in groups.values() for record in runs]
    references = _label_free(known)
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            summarize(runs, "test/accuracy"),
            *(summarize(runs, name) for name in CONTRIBUTIONS),
            *(summarize(runs, one.accuracy) for one in references),
            summarize(runs, "train/ari"),
            missing_targets(runs),
        ]
        for (dataset, prompt), runs in groups.items()
    ]
    titles = [*(METRICS[name].title for name in CONTRIBUTIONS), *(one.title for one in references)]
    columns = ["dataset", "prompt", "method", *titles, METRICS["train/ari"].title, "missing targets"]
    words = ("Test accuracy without training labels.", setting, supervision(known))
    caption = " ".join(filter(None, [*words, rivals(known, dataset_name)]))
    return [Prose(_WITHOUT_LABELS), Table(caption, columns, rows, "label_free")]


def _audited(records: Sequence[RunRecord]) -> list[str]:
    """Return the datasets on which factors were varied."""
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
        for dataset in _audited(records)
        for pair in _pairs(records, dataset)
    ]
    for (dataset, prompt), runs in _without_labels(records).items():
        pairs = _against(Arm(f"{prompt}, no training labels", runs), _label_free(runs))
        made += [answers.compare(dataset_name(dataset), *pair) for pair in pairs]
    return corrected(made)


def _without_labels(records: Sequence[RunRecord]) -> Mapping[tuple[str, ...], list[RunRecord]]:
    """Return the runs paired and named without labels, by dataset and prompt."""
    return group_by(chosen(records, pairing="zero_shot", vote="prompt"), ["dataset", "prompt"])


def _label_free(records: Sequence[RunRecord]) -> list[ReferenceFacts]:
    """Return the computed references that use no label, or only to name their clusters."""
    return [facts for facts in references_of(records) if facts.uses_labels in ("no", "for the names")]


def _against(method: Arm, references: Sequence[ReferenceFacts]) -> list[tuple[Arm, Arm]]:
    return [
        (method, replace(method, name=facts.title, column=f"{PREFIX}{facts.name}")) for facts in references
    ]


def _pairs(records: Sequence[RunRecord], dataset: str) -> Iterator[tuple[Arm, Arm]]:
    """Yield each arm of a dataset with its rival."""

    def arm(name: str, **options: str) -> Arm:
        return Arm(name, _runs_at(records, dataset, options))

    task = arm("task")
    for control in CONTROLS:
        yield task, arm(f"task, {control} text", text=control)
    # References "as the run" are the run itself with other text: the controls above are that question.
    yield from _against(task, [one for one in references_of(task.records) if one.uses_labels != "as the run"])
    yield task, arm("task, one cluster a target", clusters_per_target="1")
    yield task, arm("task, zero-shot pairing", pairing="zero_shot")
    for part in ("inputs", "output", "both"):
        options, name = NORMALISED[part], f"task, {part} normalised"
        normalised = arm(name, **options)
        yield normalised, task
        alone = known_references()["image_only"]
        yield from _against(normalised, [replace(alone, title=f"{alone.title}, {part} normalised")])
        yield normalised, arm(f"{name}, rotated text", **options, text="rotated")


def _runs_at(records: Sequence[RunRecord], dataset: str, options: Mapping[str, str]) -> list[RunRecord]:
    """Return the runs of the task prompts on a dataset with some options changed."""
    changed = {name.replace(".", "__"): value for name, value in options.items()}
    return [one for one in chosen(records, prompt="task", **changed) if one.option("dataset") == dataset]
