"""Sweeps and runs in an MLflow store."""

import getpass
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fused_clip.support.chunks import batched
from fused_clip.tracking.active import MlflowRun
from fused_clip.tracking.database import absolute_uri, compare_url, connect, is_server, ui_command
from fused_clip.tracking.models import check_name, register_model
from fused_clip.tracking.process import this_process
from fused_clip.tracking.stale import PROCESS, close_abandoned
from fused_clip.tracking.tracker import Scalar, Status
from fused_clip.tracking.values import cut, mlflow_key, mlflow_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

PLAN, TABLE = "plan.json", "sweep.json"  # artifacts of a sweep's parent
_PARAMS_A_CALL = 100  # mlflow's limit: mlflow/utils/validation.py
_RUNS_A_TAG, _SWEEPS_A_TAG = 150, 300  # ids of 32 and 12 characters that fit in the 5,000 of a tag
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
            for some in batched(params.items(), _PARAMS_A_CALL):
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
    some = enumerate(batched(run_ids, _RUNS_A_TAG), 1)
    return {f"reused_from_{n}" if n > 1 else "reused_from": " ".join(ids) for n, ids in some}


def _brief(row: Mapping[str, Scalar]) -> str:
    """One failed cell: its words, not its numbers."""
    words = [str(value) for key, value in row.items() if isinstance(value, str) and value and key != "error"]
    return f"{' '.join(words)}: {str(row['error']).splitlines()[0][:200]}"
