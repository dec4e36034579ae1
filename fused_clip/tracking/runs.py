"""Sweeps and runs in an MLflow store."""

import functools
import getpass
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

from fused_clip.support.checksums import sealed
from fused_clip.support.chunks import batched
from fused_clip.support.files import sha256
from fused_clip.tracking.active import MlflowRun
from fused_clip.tracking.address import absolute_uri, compare_url, is_server, local_file, ui_command
from fused_clip.tracking.database import all_runs, complaints, connect
from fused_clip.tracking.database_server import impatient, when_back
from fused_clip.tracking.integrity import seal
from fused_clip.tracking.models import check_name, register_model
from fused_clip.tracking.process import is_gone, this_process
from fused_clip.tracking.tracker import Scalar, Status
from fused_clip.tracking.values import cut, mlflow_key, mlflow_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from pandas import DataFrame

log = logging.getLogger(__name__)

PLAN, TABLE = "plan.json", "sweep.json"  # artifacts of a sweep's parent
TABLE_HASH = "table_sha256"  # tag: mlflow writes the table
_PARAMS_A_CALL = _TAGS_A_CALL = 100  # mlflow's limits: mlflow/utils/validation.py
_RUNS_A_TAG, _SWEEPS_A_TAG = 150, 300  # ids of 32 and 12 characters that fit in the 5,000 of a tag
_PROCESS = "process"  # tag of the process that a run belongs to
_GONE = "its process is gone: killed, or the machine stopped"
_ATTEMPTS = 3  # to end a run, and to add its checksums
_NO_SUCH_RUN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}

P = ParamSpec("P")
T = TypeVar("T")


def _told(
    method: "Callable[Concatenate[MlflowTracker, P], T]",
) -> "Callable[Concatenate[MlflowTracker, P], T]":
    """Turn errors of the store into an `InputError` that names it."""

    @functools.wraps(method)
    def called(tracker: "MlflowTracker", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with complaints(tracker.uri):
            return method(tracker, *args, **kwargs)

    return called


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

    @_told
    def check(self) -> None:
        """Check that the store answers and would register models; a missing local database is made."""
        client, _ = self._store()
        if self.registered_model is not None:
            check_name(client, self.registered_model)

    @_told
    def wait(self) -> None:
        """Open a store on a server; try for two minutes if it does not answer."""
        if local_file(self.uri) is None:
            when_back(self._store, self.uri)

    @_told
    def close_abandoned(self) -> None:
        """End as KILLED the runs that are RUNNING although the process that opened them is gone."""
        client, experiment_id = self._store()
        for run in all_runs(client, experiment_id, "attributes.status = 'RUNNING'"):
            gone = is_gone(run.data.tags.get(_PROCESS, ""))
            # Asked once more: it may have ended the run between the search and its own end.
            if gone and client.get_run(run.info.run_id).info.status == "RUNNING":
                client.set_tag(run.info.run_id, "error", _GONE)
                client.set_terminated(run.info.run_id, "KILLED")

    @_told
    def start_sweep(self, name: str, tags: Mapping[str, str], plan: Sequence[Mapping[str, str]] = ()) -> str:
        """Open the parent run of a sweep with ``plan.json``; return its id."""
        run_id = self._create(name, tags)
        client, _ = self._store()
        try:
            if plan:
                client.log_dict(run_id, sealed({"cells": [dict(axes) for axes in plan]}), PLAN)
        except BaseException as error:
            _end_badly(client, run_id, error)
            raise
        return run_id

    @_told
    def end_sweep(self, parent_id: str, table: Sequence[Mapping[str, Scalar]], status: Status) -> None:
        """Close a sweep's parent run with the table of its cells, as ``sweep.json``."""
        from mlflow.entities import RunTag
        from pandas import DataFrame

        client, _ = self._store()
        failed = [_brief(row) for row in table if row.get("error")]
        reused = [str(row["reused_from"]) for row in table if row.get("reused_from")]
        counts = {"cells": str(len(table)), "reused_cells": str(len(reused))}
        tags = mlflow_tags({**counts, **_reused_tags(reused), "failed_cells": "; ".join(failed)})
        try:
            for some in batched(tags.items(), _TAGS_A_CALL):
                client.log_batch(parent_id, tags=[RunTag(key, value) for key, value in some])
            if table:
                _log_table(client, parent_id, DataFrame(table, dtype=object))
                if digest := _hash_of(client, parent_id, TABLE):
                    client.set_tag(parent_id, TABLE_HASH, digest)
        finally:
            _terminate(client, parent_id, status)
        _seal(client, parent_id)

    @_told
    def hand_over(self, run_id: str, owner: str) -> None:
        """Open a run again if it is closed, and name who ends it, in place of this process."""
        client, _ = self._store()
        client.set_tag(run_id, _PROCESS, owner)
        client.update_run(run_id, status="RUNNING")

    @_told
    def close_left(self, sweep_id: str, parent_id: str) -> int:
        """End as KILLED the runs of a sweep that are RUNNING, though no process runs them; count them."""
        client, experiment_id = self._store()
        query = f"attributes.status = 'RUNNING' and tags.sweep_id = '{sweep_id}'"
        left = [run.info.run_id for run in all_runs(client, experiment_id, query)]
        left = [run_id for run_id in left if run_id != parent_id]
        for run_id in left:
            client.set_tag(run_id, "error", _GONE)
            client.set_terminated(run_id, "KILLED")
        return len(left)

    @_told
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

    @_told
    def adopt(self, run_id: str, sweep_id: str) -> None:
        """Tag a finished run with its own sweep and the newest, up to 300; register its model if asked."""
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
        """Open a run; an error ends it as FAILED with message and traceback, an interruption as KILLED."""
        from mlflow.entities import Param

        client, _ = self._store()
        with complaints(self.uri):
            run_id = self._create(name, {**tags, "mlflow.parentRunId": parent_id or ""})
            try:
                for some in batched(params.items(), _PARAMS_A_CALL):
                    listed = [Param(mlflow_key(key), cut(str(value))) for key, value in some]
                    client.log_batch(run_id, params=listed)
                yield MlflowRun(client, run_id, self.registered_model)
            except BaseException as error:
                _end_badly(client, run_id, error)
                raise
            _terminate(client, run_id, "FINISHED")
            _seal(client, run_id)

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
            _PROCESS: this_process(),
        }
        run = client.create_run(experiment_id, tags=mlflow_tags({**known, **tags}), run_name=name)
        return str(run.info.run_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return ""


def _terminate(client: "MlflowClient", run_id: str, status: Status) -> None:
    """End a run; a store that fails for a moment is asked again, or the run would stay RUNNING."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            client.set_terminated(run_id, status)
            break
        except Exception:
            if attempt == _ATTEMPTS:
                with suppress(Exception):  # a server may do what is asked, and fail to say so
                    if client.get_run(run_id).info.status == status:
                        return
                raise
            time.sleep(0.1)


def _seal(client: "MlflowClient", run_id: str) -> None:
    """Add the checksums of a run that has ended: an error would repeat finished work."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            seal(client, run_id)
            break
        except Exception as error:
            if attempt == _ATTEMPTS:
                log.warning("Run %s has no checksums in the store, which failed: %s", run_id, error)
            time.sleep(0.1)


def _end_badly(client: "MlflowClient", run_id: str, error: BaseException) -> None:
    """Close a run with its error, which is raised even if the store fails as well."""
    from mlflow.exceptions import MlflowException

    failed = isinstance(error, Exception)
    try:
        with impatient() if isinstance(error, MlflowException) else nullcontext():
            try:
                if failed:
                    client.set_tag(run_id, "error", cut(str(error) or repr(error)))
                    client.log_text(run_id, "".join(traceback.format_exception(error)), "error.txt")
            finally:
                _terminate(client, run_id, "FAILED" if failed else "KILLED")
    except Exception as second:
        error.add_note(f"The tracking store could not record it: {second!r}")


def _log_table(client: "MlflowClient", run_id: str, table: "DataFrame") -> None:
    """Log the table of a sweep; `log_table` would append to that of an earlier end of the sweep."""
    if TABLE in [file.path for file in client.list_artifacts(run_id)]:
        client.log_text(run_id, table.to_json(orient="split", index=False, date_format="iso"), TABLE)
    else:
        client.log_table(run_id, table, TABLE)


def _hash_of(client: "MlflowClient", run_id: str, name: str) -> str:
    """SHA-256 (hex) of an artifact; empty if it can't be fetched, as from a server when Python ends."""
    from mlflow.exceptions import MlflowException

    place = urlparse(str(client.get_run(run_id).info.artifact_uri))
    if place.scheme == "file":
        return sha256(Path(url2pathname(place.path)) / name) or ""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with TemporaryDirectory() as folder, suppress(MlflowException):
        return sha256(Path(client.download_artifacts(run_id, name, folder))) or ""
    return ""


def _reused_tags(run_ids: Sequence[str]) -> dict[str, str]:
    """Ids in as many tags as they need: ``reused_from``, ``reused_from_2`` and so on."""
    some = enumerate(batched(run_ids, _RUNS_A_TAG), 1)
    return {f"reused_from_{n}" if n > 1 else "reused_from": " ".join(ids) for n, ids in some}


def _brief(row: Mapping[str, Scalar]) -> str:
    """One failed cell: its words, not its numbers."""
    words = [str(value) for key, value in row.items() if isinstance(value, str) and value and key != "error"]
    return f"{' '.join(words)}: {str(row['error']).splitlines()[0][:200]}"
