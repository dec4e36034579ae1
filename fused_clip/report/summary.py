"""Numbers of several runs as one cell of a table."""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence

from fused_clip.metrics.numbers import mean_and_deviation
from fused_clip.report.page import TableCell
from fused_clip.tracking.records import RunRecord

_SEEN = re.compile(r"(\d+) of (\d+):")


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
    seen: dict[str, dict[str, set[tuple[int, int]]]] = {}
    for record in records:
        if record.finished:
            count = _SEEN.match(record.tags.get("classes_seen", ""))
            datasets = seen.setdefault(record.option("backbone"), {})
            found = (int(count[1]), int(count[2])) if count else (0, 1)
            datasets.setdefault(record.option("dataset"), set()).add(found)
    return " ".join(_supervised(*one) for one in seen.items() if _any_seen(one[1]))


def _any_seen(datasets: Mapping[str, set[tuple[int, int]]]) -> bool:
    return any(some for counts in datasets.values() for some, _ in counts)


def _supervised(backbone: str, datasets: Mapping[str, set[tuple[int, int]]]) -> str:
    whole = all(some == of for counts in datasets.values() for some, of in counts)
    found = "; ".join(f"{name}: {_range(counts)}" for name, counts in datasets.items())
    which = "these classes" if whole else f"some of these classes, by their names or groups ({found})"
    where = "" if whole else ", where it had them"
    return (
        f"The training of backbone {backbone} had labels of {which}: zero-shot, and prompts paired by it, "
        f"are supervised by the backbone's training{where}."
    )


def _range(counts: set[tuple[int, int]]) -> str:
    """The numbers of classes seen; runs whose targets are groups may have more than others."""
    least, most = min(counts), max(counts)
    if not most[0]:
        return "none"
    return f"{least[0]} to {most[0]} of {most[1]}" if least != most else f"{most[0]} of {most[1]}"


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
