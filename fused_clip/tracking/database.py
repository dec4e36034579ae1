"""The MLflow store: found, made by one process at a time, and checked before work starts."""

import logging
import os
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import quote, urlparse
from urllib.request import urlopen

from filelock import FileLock

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SQLITE = "sqlite:///"
_HINT = "tracking.uri=null keeps runs in a local database; tracking=none does without"
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI takes it for a chat application
_PATIENCE = 5  # seconds that a server may take to answer at all


def absolute_uri(uri: str | None, output_dir: Path) -> str:
    """Make a tracking URI independent of the working directory; a path with a ``?`` is refused.

    Parameters
    ----------
    uri : as configured; None for ``mlflow.db`` under `output_dir`.
    output_dir : of the runs.
    """
    if uri is None:
        database = (output_dir / "mlflow.db").absolute()
        if "?" in str(database):
            raise InputError("output_dir", "must not contain '?' when runs are tracked", str(output_dir))
        return f"{_SQLITE}{database}"
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{Path(uri.removeprefix(_SQLITE)).absolute()}"
    return uri


def is_server(uri: str) -> bool:
    """Whether the store is a tracking server, which keeps artifacts in its own place.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    """
    return urlparse(uri).scheme in {"http", "https"}


def ui_command(uri: str) -> str:
    """Shell line that opens MLflow's UI on a store; a server's address as it is.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    """
    if is_server(uri):
        return uri
    # The defaults take four workers and a job runner: 19 s to the first page, where this takes 6 s.
    words = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--backend-store-uri", uri]
    return f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {shlex.join(words)}"


def compare_url(uri: str, experiment_id: str, sweep_id: str) -> str:
    """Address of the charts of a sweep's finished runs without their parent, best first.

    Parents are those without params: a reused run may have no parent itself. Sorted by a metric, because
    in order of time the UI folds runs away under their parent.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    experiment_id : of the runs.
    sweep_id : tag of the runs.
    """
    address = uri.rstrip("/") if is_server(uri) else "http://127.0.0.1:5000"
    cells = f"tags.sweep_id LIKE '%{sweep_id}%' AND params.prompt LIKE '%'"
    query = {
        "searchFilter": f"{cells} AND attributes.status = 'FINISHED'",
        "orderByKey": "metrics.`test/accuracy`",
        "orderByAsc": "false",
        "compareRunsMode": "CHART",
    }
    words = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    return f"{address}/#/experiments/{experiment_id}/runs?{words}"


def all_runs(client: "MlflowClient", experiment_id: str, condition: str = "") -> "list[Run]":
    """List the runs that are not deleted and meet a condition, oldest first.

    Parameters
    ----------
    client : of the store.
    experiment_id : of the runs.
    condition : filter of ``search_runs``.
    """
    runs: list[Run] = []
    token: str | None = None
    while token != "":
        page = client.search_runs(
            [experiment_id], condition, order_by=["attributes.start_time ASC"], page_token=token or None
        )
        runs += page
        token = page.token or ""
    return runs


def connect(uri: str, output_dir: Path, experiment: str) -> tuple["MlflowClient", str]:
    """Open the store, making database and experiment where they are missing; give client and experiment id.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    output_dir : artifacts go to ``mlartifacts`` below it, unless a server keeps them.
    experiment : name of the experiment.
    """
    if not uri.startswith(_SQLITE):
        return _open(uri, output_dir, experiment)
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        # Processes that make mlflow's tables in one new database at once leave it broken for good.
        with FileLock(f"{database}.lock"):
            opened = _open(uri, output_dir, experiment)
            with closing(sqlite3.connect(database)) as connection:
                # Readers no longer wait for a writer: cells side by side need that.
                connection.execute("PRAGMA journal_mode=WAL")
    except (OSError, sqlite3.Error) as error:
        raise InputError("tracking.uri", f"the database can't be used ({error})", uri, hint=_HINT) from error
    return opened


def connect_to_read(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """Open an existing store and experiment; give client and experiment id.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    experiment : name of the experiment.
    """
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    if uri.startswith(_SQLITE) and not database.is_file():
        hint = "Run something first, or say where it was run: output_dir=... or tracking.uri=..."
        raise InputError("tracking.uri", "there is no tracking database", str(database), hint=hint)
    with complaints(uri):
        client = _client(uri)
        known = {found.name: str(found.experiment_id) for found in client.search_experiments()}
    if experiment not in known:
        raise InputError("tracking.experiment", "is not in the store", experiment, choices=sorted(known))
    return client, known[experiment]


@contextmanager
def complaints(uri: str) -> Iterator[None]:
    """Turn errors of a store in use into an `InputError`.

    Parameters
    ----------
    uri : of the store, for the message.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise _unusable(uri, error) from error


def _open(uri: str, output_dir: Path, experiment: str) -> tuple["MlflowClient", str]:
    with complaints(uri):
        client = _client(uri)
        return client, _experiment_id(client, experiment, None if is_server(uri) else output_dir)


def _check_answers(uri: str) -> None:
    """Check that a server answers: mlflow would try again for minutes."""
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE):  # noqa: S310 - is_server: http alone
            pass
    except HTTPError:
        return
    except (OSError, HTTPException) as error:
        # A certificate that is not trusted here is an answer too: mlflow has settings for it.
        if not isinstance(getattr(error, "reason", None), SSLError):
            raise _unusable(uri, error) from error


def _unusable(uri: str, error: Exception) -> InputError:
    cause: BaseException | None = error
    while cause and not isinstance(cause, sqlite3.Error):  # MLflow's and SQLAlchemy's words hide it
        cause = cause.__cause__
    reason = (str(cause or error) or repr(error)).splitlines()[0]
    return InputError("tracking.uri", f"the store can't be used ({reason})", uri, hint=_HINT)


def _client(uri: str) -> "MlflowClient":
    if is_server(uri):
        _check_answers(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)  # a page of lines for every new database
    logging.getLogger("mlflow.store.db.utils").setLevel(
        logging.CRITICAL
    )  # tracebacks of errors that it raises
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment_id(client: "MlflowClient", name: str, output_dir: Path | None) -> str:
    """Id of the experiment, made if need be, even by several processes at once."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (output_dir.absolute() / "mlartifacts").as_uri() if output_dir else None
        try:
            return str(client.create_experiment(name, location, _KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        hint = "Restore it in MLflow, or choose another name"
        raise InputError("tracking.experiment", "has been deleted from the store", name, hint=hint)
    return str(found.experiment_id)
