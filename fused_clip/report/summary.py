"""Numbers of several runs as one cell of a table."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from fused_clip.metrics.numbers import mean_and_deviation
from fused_clip.report.page import TableCell
from fused_clip.tracking.records import RunRecord


def summarize(records: Sequence[RunRecord], metric: str, digits: int = 4) -> TableCell:
    """Make a cell of a metric's mean over runs and, of several, its standard deviation (n - 1).

    Its flag is that of `flag_of`; its text is ``-`` if no finished run has the metric.

    Parameters
    ----------
    records : runs of one row of the table.
    metric : its name.
    digits : decimals of a single value.
    """
    known = [record for record in records if record.finished and metric in record.metrics]
    values = tuple(record.metrics[metric] for record in known)
    mean = statistics.fmean(values) if values else math.nan
    return TableCell(
        mean_and_deviation(values, digits),
        mean if math.isfinite(mean) else None,
        tuple(record.run_id for record in known),
        flag_of(records),
        values,
    )


def flag_of(records: Sequence[RunRecord]) -> str:
    """Name the problems of runs: missing or failed cells, several commits, several versions of the data.

    Parameters
    ----------
    records : the runs behind the number.
    """
    notes = []
    for word, statuses in (("missing", {"MISSING", "RUNNING", "KILLED"}), ("failed", {"FAILED"})):
        count = sum(record.status in statuses for record in records)
        if count:
            notes.append(f"{count} of {len(records)} {word}" if len(records) > 1 else word)
    finished = [record for record in records if record.finished]
    if len({record.commit for record in finished}) > 1:
        notes.append("mixed commits")
    if mixed_data(finished):
        notes.append("mixed data")
    return ", ".join(notes)


def mixed_data(records: Iterable[RunRecord]) -> dict[str, set[str]]:
    """Return the fingerprints of each setting of the data that has several.

    Parameters
    ----------
    records : finished runs.
    """
    found: dict[str, set[str]] = {}
    for record in records:
        dataset = record.config.get("dataset", {})
        # Runs that share the dataset and these options must have seen the same rows.
        drawn = [
            f"{key}={dataset[key]}" for key in ("seed", "n_train", "n_test", "from_split") if key in dataset
        ]
        found.setdefault(" ".join([record.option("dataset"), *drawn]), set()).add(record.data_fingerprint)
    return {setting: prints for setting, prints in found.items() if len(prints) > 1}


def saw_labels(record: RunRecord) -> bool:
    """Whether the backbone of a run was trained on labels of its classes.

    Parameters
    ----------
    record : a run; False for one that has not logged it.
    """
    return record.tags.get("backbone_saw_labels") == "true"


def supervision(records: Iterable[RunRecord]) -> str:
    """Write what qualifies zero-shot numbers; empty where no backbone saw labels of the classes.

    Parameters
    ----------
    records : runs of one table.
    """
    counts: dict[str, dict[str, str]] = {}
    for record in records:
        if record.finished:
            count = record.tags.get("classes_seen", "none").partition(":")[0]
            datasets = counts.setdefault(record.option("backbone"), {})
            # Groups may be seen where classes are not: the strategy with the most counts.
            datasets[record.option("dataset")] = max(
                count, datasets.get(record.option("dataset"), count), key=_classes_counted
            )
    return " ".join(
        _supervised(*one) for one in counts.items() if any(map(_classes_counted, one[1].values()))
    )


def _supervised(backbone: str, counts: Mapping[str, str]) -> str:
    whole = all(len(set(count.split(" of "))) == 1 and count != "none" for count in counts.values())
    found = "; ".join(f"{dataset}: {count}" for dataset, count in counts.items())
    which = "these classes" if whole else f"some of these classes, by their names ({found})"
    where = "" if whole else ", where it had them"
    return (
        f"The training of backbone {backbone} had labels of {which}: zero-shot, and prompts paired by it, "
        f"are supervised by the backbone's training{where}."
    )


def _classes_counted(count: str) -> int:
    first = count.split(" ")[0]
    return int(first) if first.isdecimal() else 0


def data_and_backbone(records: Sequence[RunRecord]) -> str:
    """Name the datasets, their rows and the backbones, for a caption: ``digits (300 train, 100 test rows)``.

    Parameters
    ----------
    records : runs of one table; those that have not finished name no rows.
    """
    rows: dict[str, set[tuple[str, str]]] = {}
    for record in records:
        sizes = rows.setdefault(record.option("dataset"), set())
        if "n_train" in record.tags and "n_test" in record.tags:
            sizes.add((record.tags["n_train"], record.tags["n_test"]))
    named = []
    for dataset, sizes in rows.items():
        known = " or ".join(f"{int(train):,} train, {int(test):,} test rows" for train, test in sorted(sizes))
        named.append(f"{dataset} ({known})" if known else dataset)
    backbones = [name for name in dict.fromkeys(record.option("backbone") for record in records) if name]
    words = [", ".join(filter(None, named)), f"backbone {', '.join(backbones)}" if backbones else ""]
    return "; ".join(filter(None, words))


def group_by(
    records: Iterable[RunRecord], options: Sequence[str]
) -> Mapping[tuple[str, ...], list[RunRecord]]:
    """Group runs by their values of some options, in order of first appearance.

    Parameters
    ----------
    records, options : the runs, and names such as ``dataset`` or ``fusion.alpha``.
    """
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(tuple(record.option(name) for name in options), []).append(record)
    return groups


def varying(records: Sequence[RunRecord]) -> list[str]:
    """Return the options that differ between runs, in the order in which sweeps named them.

    Parameters
    ----------
    records : the runs.
    """
    named = dict.fromkeys(axis for record in records for axis in record.axes)
    return [axis for axis in named if len({record.option(axis) for record in records}) > 1]
