"""Sweeps and runs in an MLflow store."""

import getpass
import json
import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fused_clip.result import Result
from fused_clip.tracking.abandoned import PROCESS, close_abandoned
from fused_clip.tracking.base import Scalar, Status
from fused_clip.tracking.database import absolute_uri, compare_url, connect, is_server, ui_command
from fused_clip.tracking.limits import cut, mlflow_key, mlflow_tags, portions
from fused_clip.tracking.models import check_name, log_model, register_model
from fused_clip.tracking.process import this_process

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

FILES = (
    "config.yaml",
    "result.json",
    "metrics.json",
    "timings.json",
    "predictions.parquet",
    "embeddings.npz",
    "fused_clip.log",
)
PLAN, TABLE = "plan.json", "sweep.json"  # artifacts of a sweep's parent
MODEL = "model"
GRID_PIXELS = 1_000  # longest side of a picture in the image grid; the file among the artifacts has all
_METRICS_A_CALL, _PARAMS_A_CALL = 1_000, 100  # mlflow's limits: mlflow/utils/validation.py
_RUNS_A_TAG, _SWEEPS_A_TAG = 150, 300  # ids of 32 and 12 characters that fit in the 5,000 of a tag
_DIGEST_LENGTH = 36
_NO_SUCH_RUN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class MlflowTracker:
    """Records runs in an MLflow store, which is opened when it is first needed.

    Parameters
    ----------
    output_dir : place of the default store, ``mlflow.db``, and of the artifacts, ``mlartifacts``.
    uri : tracking URI; None for the default store.
    experiment : MLflow experiment, made if it is not there.
    registered_model : name in the registry of which every run's model becomes a version; None for none.

    Raises
    ------
    InputError
        By every method that needs the store, if it can't be used.
    """

    def __init__(
        self,
        output_dir: Path,
        uri: str | None = None,
        experiment: str = "fused_clip",
        registered_model: str | None = None,
    ) -> None:
        self.output_dir = Path(output_dir).absolute()
        self.uri = absolute_uri(uri, self.output_dir)
        self.experiment = experiment
        self.registered_model = registered_model
        self._opened: tuple[MlflowClient, str] | None = None

    @property
    def copies_files(self) -> bool:
        """Whether artifacts are kept below the output directory: yes, unless a server has them."""
        return not is_server(self.uri)

    def check(self) -> None:
        """See that the store answers and would register models; a local database not there yet is made."""
        client, _ = self._store()
        if self.registered_model is not None:
            check_name(client, self.registered_model)

    def close_abandoned(self) -> None:
        """End as KILLED the runs that are RUNNING although the process that opened them is gone."""
        close_abandoned(*self._store())

    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Open the parent run of a sweep; return its id.

        Parameters
        ----------
        plan : axes of every cell that is going to run, kept as ``plan.json``; empty if that is not known.
        """
        run_id = self._create(name, tags)
        client, _ = self._store()
        try:
            if plan:
                client.log_dict(run_id, {"cells": [dict(axes) for axes in plan]}, PLAN)
        except BaseException as error:
            _end_badly(client, run_id, error)
            raise
        return run_id

    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Close a sweep's parent run with the table of its cells, as ``sweep.json``.

        Parameters
        ----------
        table : one row a cell; an ``error`` that is not empty marks a failed one, ``reused_from`` holds the
            id of the run that it was taken from.
        """
        from mlflow.entities import RunTag
        from pandas import DataFrame

        client, _ = self._store()
        failed = [_brief(row) for row in table if row.get("error")]
        reused = [str(row["reused_from"]) for row in table if row.get("reused_from")]
        counts = {"cells": str(len(table)), "reused_cells": str(len(reused))}
        tags = mlflow_tags({**counts, **_reused_tags(reused), "failed_cells": "; ".join(failed)})
        try:
            client.log_batch(parent_id, tags=[RunTag(key, value) for key, value in tags.items()])
            if table:
                client.log_table(parent_id, DataFrame(table, dtype=object), TABLE)
        finally:
            client.set_terminated(parent_id, status)

    def has_finished(self, run_id: str) -> bool:
        """Whether a run of this experiment is FINISHED, and not deleted."""
        from mlflow.exceptions import MlflowException

        client, experiment_id = self._store()
        try:
            info = client.get_run(run_id).info
        except MlflowException as error:
            if error.error_code in _NO_SUCH_RUN:
                return False
            raise
        facts = (info.status, info.lifecycle_stage, info.experiment_id)
        return facts == ("FINISHED", "active", experiment_id)

    def adopt(self, run_id: str, sweep_id: str) -> None:
        """Add a sweep's id to those that a finished run is tagged with: its own and the newest, up to 300.

        Its model is registered if asked.
        """
        client, _ = self._store()
        if self.registered_model is not None:
            register_model(client, self.registered_model, run_id)
        if not sweep_id:
            return
        ids = client.get_run(run_id).data.tags.get("sweep_id", "").split()
        own, *others = dict.fromkeys([*ids, sweep_id])
        client.set_tag(run_id, "sweep_id", " ".join([own, *others[1 - _SWEEPS_A_TAG :]]))

    @contextmanager
    def run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], parent_id: str | None = None
    ) -> Iterator["MlflowRun"]:
        """Open a run; if the block raises it ends FAILED with message and traceback, if interrupted KILLED.

        Parameters
        ----------
        params : the swept axes, which head the columns of the comparison.
        tags : facts that runs are filtered by; empty ones are left out.
        parent_id : of the sweep that the run belongs to.
        """
        from mlflow.entities import Param

        client, _ = self._store()
        run_id = self._create(name, {**tags, "mlflow.parentRunId": parent_id or ""})
        try:
            for some in portions(params.items(), _PARAMS_A_CALL):
                listed = [Param(mlflow_key(key), cut(str(value))) for key, value in some]
                client.log_batch(run_id, params=listed)
            yield MlflowRun(client, run_id, self.registered_model)
        except BaseException as error:
            _end_badly(client, run_id, error)
            raise
        client.set_terminated(run_id, "FINISHED")

    def ui_command(self) -> str:
        """Shell line that opens the comparison of runs; the address of a server."""
        return ui_command(self.uri)

    def compare_url(self, sweep_id: str) -> str:
        """Address, in the UI that `ui_command` starts, of a sweep's runs side by side."""
        _, experiment_id = self._store()
        return compare_url(self.uri, experiment_id, sweep_id)

    def _store(self) -> tuple["MlflowClient", str]:
        if self._opened is None:
            self._opened = connect(self.uri, self.output_dir, self.experiment)
        return self._opened

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        client, experiment_id = self._store()
        # What mlflow.start_run would add: these have columns of their own in the UI.
        known = {
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.git.commit": tags.get("commit", ""),
            PROCESS: this_process(),
        }
        run = client.create_run(experiment_id, tags=mlflow_tags({**known, **tags}), run_name=name)
        return str(run.info.run_id)


@dataclass(frozen=True)
class MlflowRun:
    """A run that is open."""

    client: "MlflowClient"
    run_id: str
    registered_model: str | None = None

    def log(self, result: Result, directory: Path, pictures: Sequence[Path]) -> None:
        """Log metrics, facts, the dataset, files, pictures, and the model if there is one.

        Parameters
        ----------
        directory : the run's directory; those of `FILES` that are there become artifacts.
        pictures : figures as written, kept as they are below ``figures``; PNG files also go to the image
            grid, scaled down, each under its name.
        """
        self._log_numbers_and_facts(result)
        self._log_dataset(result)
        for name in FILES:
            if (directory / name).is_file():
                self.client.log_artifact(self.run_id, str(directory / name))
        for picture in pictures:
            self.client.log_artifact(self.run_id, str(picture), "figures")
            if picture.suffix == ".png":
                self._log_to_grid(picture)
        if (directory / MODEL).is_dir():
            log_model(self.client, self.run_id, directory / MODEL, self.registered_model)

    def _log_numbers_and_facts(self, result: Result) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        finite = {key: float(value) for key, value in result.metrics.items() if math.isfinite(value)}
        tags = mlflow_tags(
            {
                **result.tags,
                "uses_labels": str(result.uses_labels).lower(),
                "backbone_saw_labels": str(result.backbone_saw_labels).lower(),
                "missing_targets": ", ".join(result.missing_targets),
                "prompts": " | ".join(result.texts),
                # SQL keeps infinity as 1.8e308 and NaN as 0: better not there than wrong.
                "undefined_metrics": ", ".join(sorted(result.metrics.keys() - finite.keys())),
            }
        )
        for some in portions(finite.items(), _METRICS_A_CALL):
            metrics = [Metric(mlflow_key(key), value, now, 0) for key, value in some]
            self.client.log_batch(self.run_id, metrics=metrics)
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _log_dataset(self, result: Result) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(
            name=result.dataset,
            digest=result.tags.get("data_fingerprint", "")[:_DIGEST_LENGTH] or "unknown",
            source_type="external",
            source=json.dumps({"uri": result.tags.get("data_source", "")}),
            profile=json.dumps({"num_rows": {"train": len(result.train), "test": len(result.test)}}),
        )
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "train and test")])]
        try:
            self.client.log_inputs(self.run_id, datasets=inputs)
        except MlflowException:
            # Of cells that name a new dataset at once, all but one are refused; now it is there.
            self.client.log_inputs(self.run_id, datasets=inputs)

    def _log_to_grid(self, picture: Path) -> None:
        from PIL import Image

        with Image.open(picture) as image:
            small = image.convert("RGB")
        small.thumbnail((GRID_PIXELS, GRID_PIXELS))
        self.client.log_image(self.run_id, small, key=picture.stem, step=0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return ""


def _end_badly(client: "MlflowClient", run_id: str, error: BaseException) -> None:
    """Close a run with what went wrong; if the store fails as well, the first error still is the one told."""
    failed = isinstance(error, Exception)
    try:
        try:
            if failed:
                client.set_tag(run_id, "error", cut(str(error) or repr(error)))
                client.log_text(run_id, "".join(traceback.format_exception(error)), "error.txt")
        finally:
            client.set_terminated(run_id, "FAILED" if failed else "KILLED")
    except Exception as second:
        error.add_note(f"The tracking store could not be told: {second!r}")


def _reused_tags(run_ids: Sequence[str]) -> dict[str, str]:
    """Ids in as many tags as hold them: ``reused_from``, ``reused_from_2`` and so on."""
    some = enumerate(portions(run_ids, _RUNS_A_TAG), 1)
    return {f"reused_from_{n}" if n > 1 else "reused_from": " ".join(ids) for n, ids in some}


def _brief(row: Mapping[str, Scalar]) -> str:
    """One failed cell: its words, not its numbers."""
    words = [str(value) for key, value in row.items() if isinstance(value, str) and value and key != "error"]
    return f"{' '.join(words)}: {str(row['error']).splitlines()[0][:200]}"
