"""The audit: one factor at a time around the paper's setting, and what is left of the words."""

from collections.abc import Mapping, Sequence

from fused_clip.report.page import Block, TableCell, Figure, Page, Prose, Section, Table
from fused_clip.report.studies import paper_table1
from fused_clip.report.studies.comparisons import LABEL_FREE, audited, comparisons, runs_at, without_labels
from fused_clip.report.studies.curves import METHOD, Panel, draw_curves
from fused_clip.report.studies.factors import FACTORS, Factor
from fused_clip.report.studies.pairs import difference_table
from fused_clip.report.studies.paper_table1 import DIFFERENCES, missing_targets
from fused_clip.report.studies.settings import apart, circumstances, dataset_name
from fused_clip.report.summary import summarize
from fused_clip.tracking.records import RunRecord

REFERENCES = {name: told for name, told in paper_table1.REFERENCES.items() if name != "zero_shot_via_class"}
MEASURES = {"test/accuracy": "accuracy", "train/ari": "ARI", "train/purity": "purity"}


def page(records: Sequence[RunRecord]) -> Page:
    """Make the study's page.

    Parameters
    ----------
    records : cells of ``experiment=text_contribution``.
    """
    sections, problems = apart(records, _sections)
    return Page("What the words contribute", sections, problems)


def _sections(records: Sequence[RunRecord]) -> list[Section]:
    told = circumstances(records)
    compared = comparisons(records)
    return [
        Section(
            "Which differences are real",
            [Prose(DIFFERENCES), difference_table(compared, f"Accuracies compared. {told}", "differences")],
        ),
        *(Section(factor.title, factor_blocks(records, factor, told)) for factor in FACTORS),
        Section("Without any label", [Prose(_WITHOUT_LABELS), label_free_table(records, told)]),
    ]


def factor_blocks(records: Sequence[RunRecord], factor: Factor, told: str) -> list[Block]:
    """A figure and a table."""
    runs = {
        (dataset, level): runs_at(records, dataset, options)
        for dataset in audited(records)
        for level, options in factor.levels.items()
    }
    caption = f"Accuracy, ARI and purity against one factor: {factor.axis}; bars are one standard deviation. "
    table = factor_table(runs, factor, told)
    if not any(record.finished for some in runs.values() for record in some):
        return [table]
    panels = [
        panel
        for dataset in audited(records)
        for panel in panels_of(dataset, [runs[dataset, level] for level in factor.levels])
    ]
    png = draw_curves(panels, list(factor.levels), factor.axis, steps=factor.steps, told=told)
    return [Figure(caption + told, png), table]


def factor_table(runs: Mapping[tuple[str, str], Sequence[RunRecord]], factor: Factor, told: str) -> Table:
    """One row a dataset and level."""
    accuracies = [f"reference/{name}_accuracy" for name in REFERENCES]
    metrics = [*MEASURES, "train/prompt_purity", "text_contribution", *accuracies]
    names = [*MEASURES.values(), "purity by prompt", "text contribution", *REFERENCES.values()]
    rows = [
        [TableCell(dataset_name(dataset)), TableCell(level), *(summarize(some, metric) for metric in metrics)]
        for (dataset, level), some in runs.items()
    ]
    return Table(f"{factor.title}. {told}", ["dataset", factor.axis, *names], rows, factor.name)


def panels_of(dataset: str, runs: Sequence[Sequence[RunRecord]]) -> list[Panel]:
    """The three measures at each level, each with all references that these runs have of it."""
    panels = []
    for metric, measure in MEASURES.items():
        lines = {METHOD: [_values(some, metric) for some in runs]}
        for reference, name in REFERENCES.items():
            values = [_values(some, f"reference/{reference}_{measure.lower()}") for some in runs]
            lines |= {name: values} if any(values) else {}
        panels.append(Panel(dataset_name(dataset), measure, lines))
    return panels


def _values(records: Sequence[RunRecord], metric: str) -> list[float]:
    return [record.metrics[metric] for record in records if record.finished and metric in record.metrics]


def label_free_table(records: Sequence[RunRecord], told: str) -> Table:
    """The method paired and named without labels, beside references that use none either."""
    rows = [
        [
            TableCell(dataset_name(dataset)),
            TableCell(prompt),
            summarize(runs, "test/accuracy"),
            *(summarize(runs, f"reference/{name}_accuracy") for name in LABEL_FREE),
            summarize(runs, "train/ari"),
            missing_targets(runs),
        ]
        for (dataset, prompt), runs in without_labels(records).items()
    ]
    columns = ["dataset", "prompt", "method", *LABEL_FREE.values(), "ARI", "missing targets"]
    return Table(f"Test accuracy without training labels. {told}", columns, rows, "label_free")


_WITHOUT_LABELS = (
    "Each training image is fused with its nearest prompt, and each cluster is named by its most frequent"
    " prompt: no label of an image is used. The clusterings of images alone have one cluster a target; "
    "which cluster is which target is chosen by the training labels (Hungarian matching), so their names "
    "use labels and their clusters do not."
)
