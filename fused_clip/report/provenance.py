"""The runs behind a report: their problems, commits, data, durations and configs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from fused_clip.report.page import Block, Details, Prose, Section, Table, TableCell
from fused_clip.report.summary import mixed_data, varying
from fused_clip.support.timing import duration
from fused_clip.tracking.records import RunRecord

_SHORT = 12  # characters of a commit or fingerprint: enough to differ from all others
_NAMED = 10  # cells that a problem names


def problems(records: Sequence[RunRecord]) -> list[str]:
    """List cells without numbers, mixed code or data, and the warnings that runs left, each once.

    Parameters
    ----------
    records : cells of the report.
    """
    found = []
    axes = varying(records)
    for word, failed in (("failed", True), ("missing (never started, or never ended)", False)):
        some = [one for one in records if not one.finished and (one.status == "FAILED") == failed]
        if some:
            names = [*(_label(record, axes) for record in some[:_NAMED]), *["…"] * (len(some) > _NAMED)]
            found.append(f"{len(some)} of {len(records)} cells {word}: {'; '.join(names)}.")
    finished = [record for record in records if record.finished]
    commits = list(dict.fromkeys(record.commit or "unknown" for record in finished))
    if len(commits) > 1:
        found.append(f"The runs are of different commits: {', '.join(map(_short_commit, commits))}.")
    if any(commit.endswith("+") for commit in commits):
        found.append("Some code was not committed when it ran: its commit is marked with +.")
    for setting, prints in mixed_data(finished).items():
        listed = ", ".join(sorted(mark[:_SHORT] or "unknown" for mark in prints))
        found.append(f"The runs on {setting} saw different data: fingerprints {listed}.")
    return [*found, *_warnings(records)]


def _warnings(records: Sequence[RunRecord]) -> list[str]:
    """Return each line of the runs' warnings once, with the number of runs if not all have it."""
    lines = Counter(
        line.strip()
        for record in records
        for line in dict.fromkeys(record.tags.get("warnings", "").splitlines())
        if line.strip()
    )
    runs = sum(bool(record.run_id) for record in records)
    return [line if count == runs else f"{line} ({count} of {runs} runs)" for line, count in lines.items()]


def runs_section(records: Sequence[RunRecord]) -> Section:
    """List every run with commit, data and duration, the config that all share, and what each adds.

    Parameters
    ----------
    records : cells of the report.
    """
    configs = {record.run_id: _flat(record.config) for record in records if record.config}
    first, *others = configs.values() or [{}]
    shared = {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
    known = [record.seconds for record in records if math.isfinite(record.seconds)]
    total = duration(math.fsum(known) if known else math.nan)
    times = Prose(f"{len(records)} cells; their runs took {total} in all, one after the other.")
    blocks: list[Block] = [times, _runs(records)]
    if configs:
        all_share = f" that all {len(configs)} runs share" if len(configs) > 1 else ""
        blocks.append(Details(f"Resolved config{all_share}", _yaml(shared)))
    for record in records:
        own = {key: value for key, value in configs.get(record.run_id, {}).items() if key not in shared}
        if own:
            blocks.append(Details(f"Config of {record.name} (run {record.run_id}) beyond that", _yaml(own)))
    return Section("Runs", blocks)


def _label(record: RunRecord, axes: Sequence[str]) -> str:
    return " ".join(f"{axis}={record.option(axis)}" for axis in axes) or record.name


def _runs(records: Sequence[RunRecord]) -> Table:
    columns = ["run", "cell", "status", "commit", "data", "duration", "error"]
    columns = columns if any(record.error for record in records) else columns[:-1]
    axes = varying(records)
    rows = [_run_row(record, axes)[: len(columns)] for record in records]
    return Table("The runs behind the numbers.", columns, rows, of_runs=True)


def _run_row(record: RunRecord, axes: Sequence[str]) -> list[TableCell]:
    known = math.isfinite(record.seconds)
    return [
        TableCell(record.run_id),
        TableCell(record.name if record.run_id else _label(record, axes)),
        TableCell(record.status.lower(), flag="from another sweep" if record.reused else ""),
        TableCell(_short_commit(record.commit)),
        TableCell(record.data_fingerprint[:_SHORT]),
        TableCell(duration(record.seconds), round(record.seconds, 3) if known else None),
        TableCell(record.error),
    ]


def _short_commit(commit: str) -> str:
    return commit[:_SHORT] + ("+" if commit.endswith("+") and len(commit) > _SHORT else "")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Map dotted keys to values; a list or an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _yaml(flat: Mapping[str, Any]) -> str:
    # PyYAML and not OmegaConf, which would read a text such as "${x}" as an interpolation.
    lines = (yaml.safe_dump({key: value}, allow_unicode=True, sort_keys=False) for key, value in flat.items())
    return "".join(lines).rstrip()
