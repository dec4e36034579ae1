"""The MLflow store: found, made by one process at a time, and checked before work starts."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from filelock import FileLock

from fused_clip.support.errors import InputError
from fused_clip.support.files import check_writable
from fused_clip.tracking.address import HINT, is_server, local_file
from fused_clip.tracking.database_server import is_database_server, patient, ready
from fused_clip.tracking.schema import check_file, is_whole, make_whole

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI takes it for a chat application
_PATIENCE = 5  # seconds that a server may take to answer at all


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
    database = local_file(uri)
    if is_database_server(uri):
        _import_mlflow()
        with complaints(uri), ready(uri):
            client, experiment_id = _open(uri, output_dir, experiment)
        return patient(client), experiment_id
    if database is None:
        return _open(uri, output_dir, experiment)
    check_file(database)
    _import_mlflow()  # seconds, in which the lock would be held
    with _complaints_of_sqlite(uri):
        check_writable(database.parent, "tracking.uri")  # in /proc a lock would be waited for, for ever
        # Processes that make mlflow's tables in one new database at once leave it broken for good.
        with FileLock(f"{database}.lock"):
            if not is_whole(database):
                make_whole(database)
            if not os.access(database, os.W_OK):
                raise InputError("tracking.uri", "must be a database that can be written", uri, hint=HINT)
            opened = _open(uri, output_dir, experiment)
            with closing(sqlite3.connect(database)) as connection:
                # Readers no longer wait for a writer: cells side by side need that.
                connection.execute("PRAGMA journal_mode=WAL")
    return opened


def connect_to_read(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """Open an existing store and experiment; give client and experiment id.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    experiment : name of the experiment.
    """
    check_existing(uri)
    with complaints(uri), ready(uri) if is_database_server(uri) else nullcontext():
        client = _client(uri)
        known = {found.name: str(found.experiment_id) for found in client.search_experiments()}
    if experiment not in known:
        raise InputError("tracking.experiment", "is not in the store", experiment, choices=sorted(known))
    return client, known[experiment]


def check_existing(uri: str) -> None:
    """Check that a local database is there, and upgrade it if an older MLflow made it.

    Parameters
    ----------
    uri : as `absolute_uri` gives it; another store is not looked at.
    """
    database = local_file(uri)
    if database is None:
        return
    check_file(database)
    if not database.exists():
        hint = "Run something first, or say where it was run: output_dir=... or tracking.uri=..."
        raise InputError("tracking.uri", "there is no tracking database", str(database), hint=hint)
    _import_mlflow()
    with _complaints_of_sqlite(uri):
        if not is_whole(database):
            with FileLock(f"{database}.lock"):
                if not is_whole(database):
                    make_whole(database)


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


@contextmanager
def _complaints_of_sqlite(uri: str) -> Iterator[None]:
    """Turn errors of a local database and its folder into an `InputError`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise InputError("tracking.uri", f"the database can't be used ({error})", uri, hint=HINT) from error


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
    return InputError("tracking.uri", f"the store can't be used ({reason})", uri, hint=HINT)


def _client(uri: str) -> "MlflowClient":
    if is_server(uri):
        _check_answers(uri)
    _import_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _import_mlflow() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - seconds, of which all else is a part

    logging.getLogger("alembic").setLevel(logging.WARNING)  # a page of lines for every new database
    # Tracebacks of errors that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


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
