"""Numbers of several runs as one cell of a table."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from fused_clip.report.page import Cell
from fused_clip.tracking.records import RunRecord


def summarize(records: Sequence[RunRecord], metric: str, digits: int = 4) -> Cell:
    """Mean of a metric over runs, and its standard deviation (n - 1) where there are several.

    The cell is flagged where runs are missing or failed, or where the finished ones are of different commits
    or, on the same dataset, of different data. Without a finished run that has the metric its text is ``-``.
    """
    known = [record for record in records if record.finished and metric in record.metrics]
    values = [record.metrics[metric] for record in known]
    if not values:
        return Cell("-", flag=flag_of(records))
    mean = statistics.fmean(values)
    text = number(mean, digits)
    if len(values) > 1:
        text += f" ± {number(statistics.stdev(values), digits)}"
    return Cell(text, mean, tuple(record.run_id for record in known), flag_of(records))


def number(value: float, digits: int = 4) -> str:
    """Fixed decimals without the zero before the point: .8422, -.0010, 1.0000."""
    if not math.isfinite(value):
        return "-"
    text = f"{round(value, digits) + 0:.{digits}f}"  # + 0 turns -0 into 0
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def flag_of(records: Sequence[RunRecord]) -> str:
    """What is to be said of a number made from these runs: cells without a number, mixed code or data."""
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
    """Fingerprints by setting of the data, where one setting has several."""
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault(data_setting(record), set()).add(record.data_fingerprint)
    return {setting: prints for setting, prints in found.items() if len(prints) > 1}


def data_setting(record: RunRecord) -> str:
    """The dataset and what draws its rows: runs that share it ought to have seen the same data."""
    dataset = record.config.get("dataset", {})
    drawn = {key: dataset[key] for key in ("seed", "n_train", "n_test", "from_split") if key in dataset}
    return " ".join([record.option("dataset"), *(f"{key}={value}" for key, value in drawn.items())])


def group_by(
    records: Iterable[RunRecord], options: Sequence[str]
) -> Mapping[tuple[str, ...], list[RunRecord]]:
    """Runs by their values of some options, in order of first appearance."""
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(tuple(record.option(name) for name in options), []).append(record)
    return groups


def varying(records: Sequence[RunRecord]) -> list[str]:
    """Options that differ between the records, in the order in which sweeps named them."""
    named = dict.fromkeys(axis for record in records for axis in record.axes)
    return [axis for axis in named if len({record.option(axis) for record in records}) > 1]
