"""The references without text that runs are compared with in `text_in_all`."""

from collections import Counter
from collections.abc import Callable, Sequence

from fused_clip.metrics.catalogue import METRICS
from fused_clip.report.explained_columns import references_of
from fused_clip.tracking.records import RunRecord

TEXT_IN_ALL = "text_in_all"


def rivals(records: Sequence[RunRecord], dataset_name: Callable[[str], str] = str) -> str:
    """Write the sentence that names the reference behind `text_in_all`, by dataset; empty without the metric.

    Each run has its own best reference, so a mean may be over several: their numbers of runs are given.

    Parameters
    ----------
    records : runs of one table.
    dataset_name : makes the name of a dataset of its option.
    """
    titles = {one.name: one.title for one in references_of(records)}
    found: dict[str, Counter[str]] = {}
    for record in records:
        name = record.tags.get(f"{TEXT_IN_ALL}_against")
        if record.finished and TEXT_IN_ALL in record.metrics and name:
            found.setdefault(record.option("dataset"), Counter())[titles.get(name, name)] += 1
    named: dict[str, list[str]] = {}
    for dataset, counts in found.items():
        names = [
            one if count == counts.total() else f"{one} ({count} of {counts.total()} runs)"
            for one, count in counts.most_common()
        ]
        named.setdefault(" or ".join(names), []).append(dataset_name(dataset))
    if not named:
        return ""
    by_dataset = "; ".join(f"{words} for {', '.join(datasets)}" for words, datasets in named.items())
    return f"{METRICS[TEXT_IN_ALL].title.capitalize()} is against {by_dataset}."
