"""A store in the database of a server, such as PostgreSQL: checked first, made once, and waited for."""

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

from fused_clip.support.errors import InputError
from fused_clip.tracking.address import HINT
from fused_clip.tracking.schema import newest_schemas

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Connection

log = logging.getLogger(__name__)
T = TypeVar("T")

_DIALECTS = {"postgresql", "mysql", "mssql"}
_EXTRA = "pip install 'fused_clip[postgres]'"
# What to do about a driver that is missing. SQLAlchemy 2.1 takes psycopg where none is named.
_INSTALL = {"psycopg2": _EXTRA, "psycopg": f"Install it, or use postgresql+psycopg2://, and {_EXTRA}"}
_MAKING = 0x66757365_64636C70  # key of the lock in PostgreSQL: "fusedclp"
_AWAY = "TEMPORARILY_UNAVAILABLE"  # MLflow's code for a database that does not answer
_PATIENCE = 120.0  # seconds for a server that is started again
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds between two tries
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"  # of MLflow's client; its default, 7, are four minutes
_ONCE = "1"
_GIVEN_UP: set[str] = set()  # stores that this process has waited for in vain
_NOT_TWICE = {"log_table"}  # adds its rows to those that are there


def is_database_server(uri: str) -> bool:
    """Whether a store is in the database of a server.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    """
    return urlparse(uri).scheme.partition("+")[0] in _DIALECTS


@contextmanager
def ready(uri: str) -> Iterator[None]:
    """Check that a database answers, and let one process at a time make MLflow's tables in PostgreSQL.

    MLflow itself would try for minutes to reach a database, and processes that make its tables at once
    leave them broken.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.

    Raises
    ------
    InputError
        If its driver is not installed, or it does not let this process in.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        engine = create_engine(uri, poolclass=NullPool)
        connection = engine.connect()
    except ImportError as error:
        name = error.name or "driver"
        hint = _INSTALL.get(name, f"pip install {name}")
        raise InputError("tracking.uri", f"needs the package {name}", uri, hint=hint) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise InputError("tracking.uri", f"the store can't be used ({reason})", uri, hint=HINT) from error
    with connection:
        if engine.dialect.name == "postgresql":
            _hold(connection)
        yield


def _hold(connection: "Connection") -> None:
    """Hold a lock to the end of the transaction: with the others if the tables are there, else alone."""
    from sqlalchemy import text

    key = {"key": _MAKING}
    connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), key)
    if not _is_made(connection):
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)


def _is_made(connection: "Connection") -> bool:
    from sqlalchemy import text

    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
    return list(found) == newest_schemas()


def patient(client: "MlflowClient") -> "MlflowClient":
    """Let a client try for two minutes to reach a database that is away, as when it is started again.

    MLflow's client of a tracking server does so by itself.

    Parameters
    ----------
    client : of the store.
    """
    return cast("MlflowClient", _Patient(client))


def when_back(open_store: Callable[[], object], uri: str) -> None:
    """Open a store; try for two minutes if it does not answer, and once if it did not come back before.

    Parameters
    ----------
    open_store : opens it.
    uri : of the store.

    Raises
    ------
    InputError
        If the store can't be used.
    """
    try:
        _until_back(open_store, 0.0 if uri in _GIVEN_UP else _PATIENCE)
    except InputError as error:
        if _is_away(error):
            _GIVEN_UP.add(uri)
        raise
    _GIVEN_UP.discard(uri)


@contextmanager
def impatient() -> Iterator[None]:
    """Try once more instead of for minutes, after a store that was waited for has not come back."""
    known = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = _ONCE
    try:
        yield
    finally:
        del os.environ[_RETRIES]
        if known is not None:
            os.environ[_RETRIES] = known


class _Patient:
    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        again = callable(found) and name not in _NOT_TWICE
        return functools.partial(_tried, found) if again else found


def _tried(method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    patience = 2 * _PAUSE if os.environ.get(_RETRIES) == _ONCE else _PATIENCE
    return _until_back(functools.partial(method, *args, **kwargs), patience)


def _until_back(call: Callable[[], T], patience: float) -> T:
    """Call again, for some seconds, what can't reach the store."""
    from mlflow.exceptions import MlflowException

    start, pause = time.monotonic(), _PAUSE
    while True:
        try:
            return call()
        except (InputError, MlflowException) as error:
            if not _is_away(error) or time.monotonic() - start >= patience:
                raise
            if pause == _PAUSE:
                log.warning("The tracking store does not answer: trying again for %.0f s", patience)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_away(error: Exception) -> bool:
    """Whether a store could not be reached, rather than refused something."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    cause = error.__cause__ if isinstance(error, InputError) else error
    if isinstance(cause, MlflowException):
        return bool(cause.error_code == _AWAY)
    away = (OperationalError, HTTPException, URLError, ConnectionError, TimeoutError)
    return isinstance(cause, away) and not isinstance(cause, HTTPError)
