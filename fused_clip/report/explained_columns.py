"""The columns that runs fill, and their explanations."""

from collections.abc import Iterable, Sequence

from fused_clip.method.reference import PREFIX, ReferenceFacts, known_references
from fused_clip.metrics.catalogue import METRICS, MetricFacts
from fused_clip.report.page import Table, TableCell
from fused_clip.report.summary import saw_labels
from fused_clip.tracking.records import RunRecord

Facts = MetricFacts | ReferenceFacts


def references_of(records: Sequence[RunRecord]) -> list[ReferenceFacts]:
    """Return the facts of every reference that some run has computed; its own config wins over the package's.

    Parameters
    ----------
    records : runs of one table or page.
    """
    known = dict(known_references())
    known |= {
        name: ReferenceFacts.of(name, node)
        for record in records
        for name, node in (record.config.get("reference") or {}).items()
    }
    names = dict.fromkeys(
        metric.removeprefix(PREFIX).removesuffix("_accuracy")
        for record in records
        for metric in record.metrics
        if metric.startswith(PREFIX) and metric.endswith("_accuracy")
    )
    # Runs of another version may have a reference that has no facts any more.
    known |= {
        name: ReferenceFacts(name, name.replace("_", " "), "no explanation in this version", "unknown")
        for name in names
        if name not in known
    }
    return [facts for name, facts in known.items() if name in names]


def metrics_of(records: Iterable[RunRecord]) -> list[MetricFacts]:
    """Return the facts of every metric that tables of several runs show and some run has.

    Parameters
    ----------
    records : runs of one table.
    """
    present = {metric for record in records for metric in record.metrics}
    return [facts for name, facts in METRICS.items() if facts.column and name in present]


def columns_table(facts: Iterable[Facts], records: Iterable[RunRecord]) -> Table:
    """Explain columns, a line each.

    Parameters
    ----------
    facts : of the columns, in their order.
    records : runs of the table; if the backbone of each was trained on labels of its classes, it is said.
    """
    saw = {saw_labels(record) for record in records}
    some = " of some runs" if len(saw) > 1 else ""
    rows = [
        [
            TableCell(one.title),
            TableCell(
                one.labels(backbone_saw=True in saw) + some if isinstance(one, ReferenceFacts) else "-"
            ),
            TableCell(one.explanation),
        ]
        for one in facts
    ]
    return Table("The columns.", ["column", "uses labels", "explanation"], rows)
