"""Studies and sweeps read back from any MLflow store, every cell once."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlparse
from urllib.request import url2pathname

from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from fused_clip.support.checksums import SUMS, damaged, intact, parse_sums, unsealed
from fused_clip.support.conf import PLACES_AND_EXTRAS, axes_of
from fused_clip.support.errors import InputError
from fused_clip.support.files import read_regular, sha256
from fused_clip.support.json_files import parse_json_object
from fused_clip.tracking.address import absolute_uri
from fused_clip.tracking.database import all_runs, complaints, connect_to_read
from fused_clip.tracking.integrity import check_database, facts_intact, metrics_intact
from fused_clip.tracking.records import RunRecord, RunStatus
from fused_clip.tracking.runs import PLAN, TABLE, TABLE_HASH
from fused_clip.tracking.values import cut, metric_name, mlflow_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)
_PARENT = "mlflow.parentRunId"
_CHANGED = "The database is damaged: params or tags of run {} are not those that were logged"


class _Plan(TypedDict):
    cells: list[dict[str, str]]


class _Table(TypedDict):
    columns: list[str]
    data: list[list[str | int | float | bool | None]]


_PLAN, _TABLE = TypeAdapter(_Plan), TypeAdapter(_Table)
Axes = Mapping[str, str]


@contextmanager
def open_runs(uri: str | None, output_dir: Path, experiment: str = "fused_clip") -> Iterator["StoredRuns"]:
    """Read the runs of an experiment; files fetched from a server are kept for the length of the block.

    Parameters
    ----------
    uri, output_dir, experiment : as `MlflowTracker` takes them.

    Raises
    ------
    InputError
        If the store is not there, has no such experiment, or fails, also within the block.
    """
    address = absolute_uri(uri, Path(output_dir).absolute())
    check_database(address)  # mlflow would try to open it for minutes
    client, experiment_id = connect_to_read(address, experiment)
    with complaints(address), TemporaryDirectory(prefix="fused_clip-") as folder:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one bar a file otherwise
        runs = all_runs(client, experiment_id)
        for run in runs:
            if not facts_intact(run):
                log.warning("%s", _CHANGED.format(run.info.run_id))
        yield StoredRuns(runs, client, Path(folder))


@dataclass(frozen=True)
class StoredRuns:
    """The runs of an experiment, which are sweeps, their cells, and single runs.

    Parameters
    ----------
    runs : of the experiment, oldest first.
    client : of the store.
    downloads : folder for files that have to be fetched.
    """

    runs: "Sequence[Run]"
    client: "MlflowClient"
    downloads: Path

    def study(self, name: str) -> list[RunRecord]:
        """Cells of every sweep of a study, in the order planned, and its single runs.

        Of several with equal axes the newest finished one counts, else the newest failed one.

        Parameters
        ----------
        name : of the study.
        """
        mine = [run for run in self.runs if run.data.tags.get("study") == name]
        sweeps = [run for run in mine if _is_sweep(run)]
        alone = [run for run in mine if not _is_sweep(run) and _PARENT not in run.data.tags]
        if not sweeps and not alone:
            studies = {run.data.tags["study"] for run in self.runs if "study" in run.data.tags}
            raise InputError("study", "is not in the store", name, choices=sorted(studies))
        ids = {run.info.run_id for run in sweeps}
        cells = [
            replace(record, reused=record.reused and record.parent_id not in ids)
            for sweep in sweeps
            for record in self._cells(sweep)
        ]
        return _newest([*cells, *(self._record(run, run.data.params) for run in alone)])

    def sweep(self, sweep_id: str) -> list[RunRecord]:
        """Cells of one sweep, in the order planned.

        Parameters
        ----------
        sweep_id : of the sweep.
        """
        sweeps = {run.data.tags["sweep_id"]: run for run in self.runs if _is_sweep(run)}
        if sweep_id not in sweeps:
            raise InputError("sweep", "is not in the store", sweep_id, choices=list(sweeps))
        return _newest(self._cells(sweeps[sweep_id]))

    def _cells(self, sweep: "Run") -> list[RunRecord]:
        """One record a planned cell; of a sweep that decided as it went, one a job."""
        tags = sweep.data.tags
        swept = tags["swept"].split(", ")
        mine = [
            run
            for run in self.runs
            if _PARENT in run.data.tags and tags["sweep_id"] in run.data.tags.get("sweep_id", "").split()
        ]
        rows = self._table(sweep)
        plan = self._plan(sweep) or [_part(row, swept) for row in rows]
        if not plan:
            return [self._record(run, _part(run.data.params, swept)) for run in mine]
        swept_anywhere = {axis for axes in plan for axis in axes}
        by_cell = {frozenset(_part(row, list(swept_anywhere)).items()): row for row in rows}
        known = _ByAxes(mine)
        return [self._cell(sweep, axes, known, by_cell.get(frozenset(axes.items()), {})) for axes in plan]

    @cached_property
    def _by_id(self) -> "dict[str, Run]":
        return {run.info.run_id: run for run in self.runs}

    def _cell(self, sweep: "Run", axes: Axes, known: "_ByAxes", row: Mapping[str, Any]) -> RunRecord:
        """Outcome of a planned cell, from the sweep's table or, if it was cut off, from its run."""
        source = row.get("run_id")
        mine = [run for run in [self._by_id.get(source)] if run] if source else known.of(axes)
        if mine:
            found = _newest([self._record(run, axes) for run in mine])[0]
            return replace(found, reused=found.parent_id != sweep.info.run_id)
        tags = {"study": sweep.data.tags.get("study", "")}
        name = " ".join(f"{key}={value}" for key, value in axes.items())
        lost = RunRecord("", sweep.info.run_id, name, "MISSING", dict(axes), tags=tags)
        if source:
            return replace(lost, error=f"its run {source} is not in the store")
        error = str(row.get("error") or "").partition("\n")[0]
        return replace(lost, status="FAILED", error=error) if error else lost

    def _record(self, run: "Run", axes: Axes) -> RunRecord:
        info, data = run.info, run.data
        files = _Stored(self.client, run, self.downloads)
        tags = dict(data.tags)
        if not facts_intact(run):
            tags["warnings"] = "\n".join(filter(None, [tags.get("warnings"), _CHANGED.format(info.run_id)]))
        ended = info.end_time is not None
        return RunRecord(
            run_id=info.run_id,
            parent_id=data.tags.get(_PARENT, ""),
            name=info.run_name or info.run_id,
            status=cast(RunStatus, info.status if ended else "RUNNING"),
            axes=dict(axes),
            params=dict(data.params),
            metrics=_metrics(run, files),
            tags=tags,
            seconds=_seconds(run),
            error=data.tags.get("error", "").partition("\n")[0],
            artifacts=files,
        )

    def _plan(self, sweep: "Run") -> list[dict[str, str]]:
        path = _Stored(self.client, sweep, self.downloads).fetch(PLAN)
        return read_plan(path) if path else []

    def _table(self, sweep: "Run") -> list[dict[str, Any]]:
        path = _Stored(self.client, sweep, self.downloads).fetch(TABLE)
        if path is None:
            return []
        if sweep.data.tags.get(TABLE_HASH, sha256(path)) != sha256(path):
            raise damaged("sweep", path.parent, f"{TABLE} differs from its checksum")
        return read_table(path)


class _ByAxes:
    """Runs by the axes of their cells, oldest first: a sweep may have 100,000.

    By their own overrides or, where these are unknown, by their params.
    """

    def __init__(self, runs: "Sequence[Run]") -> None:
        self._by_axes: dict[frozenset[tuple[str, str]], list[tuple[int, Run]]] = {}
        self._others: list[tuple[int, Run]] = []
        for place, run in enumerate(runs):
            if "overrides" in run.data.tags:
                axes = axes_of(run.data.tags["overrides"].split("\n"))
                self._by_axes.setdefault(frozenset(axes.items()), []).append((place, run))
            else:
                self._others.append((place, run))

    def of(self, axes: Axes) -> "list[Run]":
        found = [*self._by_axes.get(frozenset(axes.items()), ())]
        found += [
            (place, run)
            for place, run in self._others
            if all(run.data.params.get(mlflow_key(axis)) == cut(value) for axis, value in axes.items())
        ]
        return [run for _, run in sorted(found, key=lambda one: one[0])]


def read_plan(path: Path) -> list[dict[str, str]]:
    """Read the axes of the cells that a sweep planned.

    Parameters
    ----------
    path : JSON, as the sweep's run keeps it.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        content = unsealed(parse_json_object(read_regular(path)))
        return _PLAN.validate_python(content, strict=True)["cells"]
    except (OSError, ValueError) as error:
        raise damaged("sweep", path.parent, f"{path.name} is not as the sweep wrote it") from error


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a sweep's table.

    Parameters
    ----------
    path : JSON, as MLflow writes a table.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        table = _TABLE.validate_json(read_regular(path), strict=True)
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    except (OSError, ValueError) as error:
        raise damaged("sweep", path.parent, f"{path.name} is not as the sweep wrote it") from error


@dataclass(frozen=True)
class _Stored:
    """Files of a run in the store: where they are if that is on this machine, else fetched into a folder.

    They are compared with the run's checksums.
    """

    client: "MlflowClient"
    run: "Run"
    downloads: Path
    _paths: dict[str, Path | None] = field(default_factory=dict)

    def fetch(self, name: str) -> Path | None:
        if name not in self._paths:
            try:
                self._paths[name] = self._find(name)
                self._check(self._paths[name], name)
            except OSError as error:
                rule = f"{name} can't be read ({error.strerror})"
                raise InputError(
                    f"run {self.run.info.run_id}", rule, str(self.run.info.artifact_uri)
                ) from error
        return self._paths[name]

    def _check(self, path: Path | None, name: str) -> None:
        """Compare a file, or all files of a folder, with the run's checksums."""
        sums = None if name == SUMS else self.fetch(SUMS)
        if sums is None:
            return
        below = f"{name}/"
        names = {one for one in parse_sums(read_regular(sums)) if one == name or one.startswith(below)}
        if path is not None:
            inside = path.rglob("*") if path.is_dir() else [path]
            names |= {file.relative_to(path.parent).as_posix() for file in inside}
        for one in sorted(names):
            intact(f"run {self.run.info.run_id}", sums.parent, one)

    def _find(self, name: str) -> Path | None:
        place = urlparse(str(self.run.info.artifact_uri))
        if place.scheme == "file":  # mlflow would copy it all the same
            root = Path(url2pathname(place.path)).resolve()
            path = root / name
            return path if path.exists() and path.resolve().is_relative_to(root) else None
        run_id = self.run.info.run_id
        if name not in {file.path for file in self.client.list_artifacts(run_id)}:
            return None
        folder = self.downloads / run_id
        folder.mkdir(exist_ok=True)
        return Path(self.client.download_artifacts(run_id, name, str(folder)))


def _metrics(run: "Run", files: _Stored) -> dict[str, float]:
    """Metrics of the database; those of the run's own files if the database's have changed."""
    known = {metric_name(chart): value for chart, value in run.data.metrics.items()}
    if metrics_intact(run):
        return known
    run_id = run.info.run_id
    paths = [files.fetch(name) for name in (SUMS, "metrics.json", "timings.json")]
    if None in paths:
        rule = f"the database is damaged: metrics of run {run_id} are not those that were logged"
        raise InputError("tracking.uri", rule, hint="Restore the database from a copy, or run again")
    logged: dict[str, float] = {}
    for path in filter(None, paths[1:]):
        found = parse_json_object(path.read_bytes())
        logged |= {name: value for name, value in found.items() if math.isfinite(value)}
    if any(known.get(name) != value for name, value in logged.items()):
        line = (
            "The database is damaged: metrics of run %s are not those that were logged; its files have these"
        )
        log.warning(line, run_id)
    return {**known, **logged}


def _seconds(run: "Run") -> float:
    """From start to end; NaN if the run has not ended, or the clock was set back meanwhile."""
    start, end = run.info.start_time, run.info.end_time
    return (end - start) / 1000 if end is not None and end >= start else float("nan")


def _is_sweep(run: "Run") -> bool:
    return "swept" in run.data.tags and _PARENT not in run.data.tags


def _part(facts: Mapping[str, Any], swept: Sequence[str]) -> dict[str, str]:
    """Those of a job's facts that are swept axes."""
    known = {axis: facts.get(mlflow_key(axis), facts.get(axis)) for axis in swept}
    return {axis: str(value) for axis, value in known.items() if value is not None}


def _newest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """One record for all of equal axes, in order of first appearance; `records` come oldest first.

    Keys that do not change results make no other cell.
    """
    best: dict[frozenset[tuple[str, str]], RunRecord] = {}
    for record in records:
        cell = frozenset(
            axis for axis in record.axes.items() if axis[0].partition(".")[0] not in PLACES_AND_EXTRAS
        )
        if cell not in best or _weight(record) >= _weight(best[cell]):
            best[cell] = record
    return list(best.values())


def _weight(record: RunRecord) -> int:
    return {"FINISHED": 2, "FAILED": 1}.get(record.status, 0)
