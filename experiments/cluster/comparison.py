"""What a sweep or a store of several machines has lost, doubled or changed, against one machine's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fused_clip.runner.artifacts import read_metrics, results
from fused_clip.runner.outcomes import read_records
from fused_clip.support.checksums import SUMS
from fused_clip.support.files import sha256

TIMINGS = ("seconds/", "images_per_second")
_VARYING = {SUMS, "config.yaml", "timings.json"}  # have paths and times in them
_PLACES = ("output_dir", "tracking", "study")

AXES = ("prompt", "clusterer", "seed")  # in which the cells of these sweeps differ

Cell = tuple[str, ...]  # values of its axes, as overrides


@dataclass
class Differences:
    """Cells, or parts of an entry, that aren't as they must be; empty if all is well.

    Parameters
    ----------
    lost : without a good record, or without a finished run.
    doubled : with more than one finished run.
    differing : with a byte or a metric that differs.
    remarks : on each, a line.
    """

    lost: set[Any] = field(default_factory=set)
    doubled: set[Any] = field(default_factory=set)
    differing: set[Any] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def add(self, kind: str, what: Any, remark: str) -> None:
        """Note one.

        Parameters
        ----------
        kind : ``lost``, ``doubled`` or ``differing``.
        what : the cell, or part of an entry.
        remark : on it.
        """
        getattr(self, kind).add(what)
        self.remarks.append(f"{kind}: {what}: {remark}")

    def __bool__(self) -> bool:
        return bool(self.remarks)

    def __add__(self, other: Differences) -> Differences:
        lost, doubled = self.lost | other.lost, self.doubled | other.doubled
        return Differences(lost, doubled, self.differing | other.differing, self.remarks + other.remarks)


def records_of(sweep: Path) -> dict[Cell, dict[str, Any]]:
    """Read the records of a sweep by the axes of its cells.

    Parameters
    ----------
    sweep : its directory.
    """
    return {cell_of(record["axes"]): record for record in read_records(sweep)}


def cell_of(axes: Mapping[str, str]) -> Cell:
    """Name a cell by its axes.

    Parameters
    ----------
    axes : by name.
    """
    return tuple(f"{key}={value}" for key, value in sorted(axes.items()) if key in AXES)


def compare_sweeps(serial: Path, sweeps: Sequence[Path], wanted: Sequence[Cell]) -> Differences:
    """Compare the files of each cell with those of the serial run.

    Parameters
    ----------
    serial : directory of the sweep that one machine ran undisturbed.
    sweeps : directories of the sweeps to compare; the last good record of a cell counts.
    wanted : cells that must be there.
    """
    found = Differences()
    right = records_of(serial)
    given: dict[Cell, dict[str, Any]] = {}
    for sweep in sweeps:
        given |= {
            cell: one for cell, one in records_of(sweep).items() if not one["error"] or cell not in given
        }
    for cell in wanted:
        record = given.get(cell)
        if record is None or record["error"]:
            found.add("lost", cell, record["error"] if record else "no record")
            continue
        place, own = _place(right[cell]), _place(record)
        for remark in _differing(place, own):
            found.add("differing", cell, f"{own}: {remark}")
        if _scores(record["metrics"]) != _scores(right[cell]["metrics"]):
            found.add("differing", cell, "metrics of its record")
    return found


def _place(record: Mapping[str, Any]) -> Path:
    return Path(record["reused_from"] or record["directory"])


def _scores(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(TIMINGS)}


def _differing(right: Path, own: Path) -> Iterator[str]:
    """Say how the files of a cell differ."""
    expected, there = set(results(right)), set(results(own))
    if expected != there:
        yield f"files {sorted(expected ^ there)} are in one only"
    for name in sorted((expected & there) - _VARYING):
        if sha256(right / name) != sha256(own / name):
            yield name
    if _config(right) != _config(own):
        yield "config.yaml"
    _ = read_metrics(own)  # its checksums hold
    sums = dict(line.split("  ", 1)[::-1] for line in (own / SUMS).read_text().splitlines())
    for name, digest in sums.items():
        if sha256(own / name) != digest:
            yield f"{name} isn't what {SUMS} says"


def _config(directory: Path) -> dict[str, Any]:
    content = yaml.safe_load((directory / "config.yaml").read_text())
    return {key: value for key, value in content.items() if key not in _PLACES}


def compare_runs(
    uri: str, serial: Path, wanted: Sequence[Cell], experiment: str = "fused_clip"
) -> Differences:
    """Compare the runs of a tracking store: one finished run a cell, with the metrics of the serial run.

    Parameters
    ----------
    uri : of the store.
    serial : as for `compare_sweeps`.
    wanted : cells that must be there.
    experiment : in which they are.
    """
    from mlflow import MlflowClient

    from fused_clip.tracking.database import all_runs
    from fused_clip.tracking.integrity import facts_intact, metrics_intact
    from fused_clip.tracking.values import chart_name

    found, right = Differences(), records_of(serial)
    client = MlflowClient(uri)
    known = client.get_experiment_by_name(experiment)
    runs = all_runs(client, known.experiment_id) if known else []
    counts: Counter[Cell] = Counter()
    for run in runs:
        cell = _cell_of_run(run)
        if run.info.status == "RUNNING":
            found.add("lost", cell or run.info.run_name, f"run {run.info.run_id} is left RUNNING")
        if run.info.status != "FINISHED" or not cell:
            continue
        counts[cell] += 1
        if not facts_intact(run) or not metrics_intact(run):
            found.add("differing", cell, f"run {run.info.run_id} isn't what was logged")
        stored = {name: run.data.metrics.get(chart_name(name)) for name in _scores(right[cell]["metrics"])}
        if stored != _scores(right[cell]["metrics"]):
            found.add("differing", cell, f"metrics of run {run.info.run_id}")
    for cell in wanted:
        if counts[cell] != 1:
            kind = "doubled" if counts[cell] else "lost"
            found.add(kind, cell, f"{counts[cell]} finished runs")
    return found


def _cell_of_run(run: Any) -> Cell:
    """Axes of a cell's run; empty for a sweep's own."""
    words = run.data.tags.get("overrides", "").split("\n")
    return cell_of(dict(word.split("=", 1) for word in words if "=" in word))


def compare_stores(right: Path, own: Path, kinds: Sequence[str] = ("images",)) -> Differences:
    """Compare the entries of two stores, byte for byte but for the time at which they were made.

    Parameters
    ----------
    right : store that one machine made undisturbed.
    own : store to compare.
    kinds : of the entries that count.
    """
    found = Differences()
    wanted = {path.name for kind in kinds for path in right.glob(f"{kind}-*") if path.is_dir()}
    there = {path.name for kind in kinds for path in own.glob(f"{kind}-*") if path.is_dir()}
    for name in wanted - there:
        found.add("lost", name, "no such entry")
    for name in there - wanted:
        found.add("doubled", name, "an entry that one machine doesn't make")
    for name in wanted & there:
        expected, given = (sorted(path.name for path in (root / name).iterdir()) for root in (right, own))
        for file in sorted(set(expected) ^ set(given)):
            found.add("lost" if file in expected else "doubled", f"{name}/{file}", "in one store only")
        for file in sorted(set(expected) & set(given)):
            if _entry_file(right / name / file) != _entry_file(own / name / file):
                found.add("differing", f"{name}/{file}", "other bytes")
    return found


def _entry_file(path: Path) -> Any:
    if path.suffix != ".json":
        return sha256(path)
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "created"}
