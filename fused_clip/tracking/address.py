"""Addresses of stores: made independent of the working directory, and shown to people."""

import re
import shlex
import sys
from pathlib import Path
from urllib.parse import quote, urlparse

from fused_clip.support.errors import InputError
from fused_clip.support.mounts import mount_of
from fused_clip.support.passwords import check_secret

_SQLITE = "sqlite:///"
HINT = "tracking.uri=null keeps runs in a local database; tracking=none does without"
_ADDRESS = "must be the address of a store: sqlite:///runs.db, sqlite:////home/me/runs.db or http://host:5000"
# What SQLAlchemy takes out of a path: the start of options, and since 2.1 the code of a character.
_TAKEN = re.compile(r"\?|%[0-9A-Fa-f]{2}")


def absolute_uri(uri: str | None, output_dir: Path) -> str:
    """Make a tracking URI independent of the working directory.

    Parameters
    ----------
    uri : as configured; None for ``mlflow.db`` under `output_dir`.
    output_dir : of the runs.

    Raises
    ------
    InputError
        If `uri` has a password, is empty or a local database without a file, and for a path of which
        SQLAlchemy would make another: with a ``?``, or a ``%`` before two hexadecimal digits.
    """
    check_secret("tracking.uri", uri)
    if uri is None:
        database = (output_dir / "mlflow.db").absolute()
        taken = _TAKEN.search(str(database))
        if taken:
            hint = "MLflow reads it as another path: rename the folder, or name a database in tracking.uri"
            rule = f"must not contain {taken[0]!r} when runs are tracked"
            raise InputError("output_dir", rule, str(database.parent), hint=hint)
        return f"{_SQLITE}{database}"
    if not uri.startswith("sqlite"):
        if not uri.strip():
            raise InputError("tracking.uri", _ADDRESS, uri, hint=HINT)
        return uri
    path, _, options = uri.removeprefix(_SQLITE).partition("?")
    if not uri.startswith(_SQLITE) or path in ("", ":memory:"):
        raise InputError("tracking.uri", _ADDRESS, uri, hint=HINT)
    taken = _TAKEN.search(path)
    if taken:
        raise InputError("tracking.uri", f"must not contain {taken[0]!r}: write the path as it is", uri)
    return f"{_SQLITE}{Path(path).absolute()}{'?' if options else ''}{options}"


def check_shared(uri: str | None, output_dir: Path) -> None:
    """Refuse a local database on a file system of the network, for runs of several machines.

    SQLite's log is shared memory, which machines do not share: the database would be damaged.

    Parameters
    ----------
    uri, output_dir : as for `absolute_uri`.

    Raises
    ------
    InputError
        If it is on one, or `absolute_uri` refuses it.
    """
    database = local_file(absolute_uri(uri, output_dir))
    if database is None:
        return
    mount = mount_of(database)
    if mount.is_network:
        rule = "must be the address of an MLflow server when cells run on several machines"
        hint = f"SQLite does not work on {mount.kind}: use tracking.uri=http://host:5000 or tracking=none"
        raise InputError("tracking.uri", rule, str(database), hint=hint)


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
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    words += ["--backend-store-uri", uri]
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


def local_file(uri: str) -> Path | None:
    """Return the file of a local database; None for another store.

    Parameters
    ----------
    uri : as `absolute_uri` gives it.
    """
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None
