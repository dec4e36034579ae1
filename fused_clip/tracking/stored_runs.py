"""Studies and sweeps read back from any MLflow store, every cell once."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlparse
from urllib.request import url2pathname

from fused_clip.support.conf import PLACES_AND_EXTRAS, axes_of
from fused_clip.support.errors import InputError
from fused_clip.tracking.database import absolute_uri, all_runs, complaints, connect_to_read
from fused_clip.tracking.records import RunRecord, RunStatus
from fused_clip.tracking.runs import PLAN, TABLE
from fused_clip.tracking.values import cut, metric_name, mlflow_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PARENT = "mlflow.parentRunId"
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
    client, experiment_id = connect_to_read(address, experiment)
    with complaints(address), TemporaryDirectory(prefix="fused_clip-") as folder:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one bar a file otherwise
        yield StoredRuns(all_runs(client, experiment_id), client, Path(folder))


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
        return [self._cell(sweep, axes, mine, by_cell.get(frozenset(axes.items()), {})) for axes in plan]

    def _cell(self, sweep: "Run", axes: Axes, mine: "Sequence[Run]", row: Mapping[str, Any]) -> RunRecord:
        """Outcome of a planned cell, from the sweep's table or, if it was cut off, from its run."""
        source = row.get("run_id")
        if source:
            mine = [run for run in self.runs if run.info.run_id == source]
        else:
            mine = [run for run in mine if _has(run, axes)]
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
        ended = info.end_time is not None
        return RunRecord(
            run_id=info.run_id,
            parent_id=data.tags.get(_PARENT, ""),
            name=info.run_name or info.run_id,
            status=cast(RunStatus, info.status if ended else "RUNNING"),
            axes=dict(axes),
            params=dict(data.params),
            metrics={metric_name(chart): value for chart, value in data.metrics.items()},
            tags=dict(data.tags),
            seconds=(info.end_time - info.start_time) / 1000 if ended else float("nan"),
            error=data.tags.get("error", "").partition("\n")[0],
            artifacts=_Stored(self.client, run, self.downloads),
        )

    def _plan(self, sweep: "Run") -> list[dict[str, str]]:
        path = _Stored(self.client, sweep, self.downloads).fetch(PLAN)
        return _read(path)["cells"] if path else []

    def _table(self, sweep: "Run") -> list[dict[str, Any]]:
        path = _Stored(self.client, sweep, self.downloads).fetch(TABLE)
        if path is None:
            return []
        table = _read(path)
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


@dataclass(frozen=True)
class _Stored:
    """Files of a run in the store: where they are if that is on this machine, else fetched into a folder."""

    client: "MlflowClient"
    run: "Run"
    downloads: Path
    _paths: dict[str, Path | None] = field(default_factory=dict)

    def fetch(self, name: str) -> Path | None:
        if name not in self._paths:
            self._paths[name] = self._find(name)
        return self._paths[name]

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


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(path.name, f"can't be read ({error})", str(path)) from error


def _is_sweep(run: "Run") -> bool:
    return "swept" in run.data.tags and _PARENT not in run.data.tags


def _part(facts: Mapping[str, Any], swept: Sequence[str]) -> dict[str, str]:
    """Those of a job's facts that are swept axes."""
    known = {axis: facts.get(mlflow_key(axis), facts.get(axis)) for axis in swept}
    return {axis: str(value) for axis, value in known.items() if value is not None}


def _has(run: "Run", axes: Axes) -> bool:
    """Whether a run is of a cell, by its own overrides or, where they are unknown, by its params."""
    if "overrides" in run.data.tags:
        return axes_of(run.data.tags["overrides"].split("\n")) == axes
    return all(run.data.params.get(mlflow_key(axis)) == cut(value) for axis, value in axes.items())


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
