"""Damage in an MLflow store, which keeps no checksums: found before its numbers are used."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_SQLITE = "sqlite:///"
_SEAL = "record_checksum"
_CHANGING = {"sweep_id", "process", "error", "warnings", _SEAL}
_PATIENCE = 30.0  # seconds, if another process is writing
_TAGS = 100  # whose names fit in the 5,000 characters of a tag


def seal(client: "MlflowClient", run_id: str) -> None:
    """Tag a run that has ended with checksums of its params, tags, metrics and times.

    Tags that change later, MLflow's own, and those that somebody adds later are not in them.

    Parameters
    ----------
    client : of the store.
    run_id : of the run.
    """
    run = client.get_run(run_id)
    names = sorted(name for name in run.data.tags if name not in _CHANGING and not name.startswith("mlflow."))
    names = names[:_TAGS]
    client.set_tag(run_id, _SEAL, json.dumps([_facts(run, names), _digest(run.data.metrics), names]))


def facts_intact(run: "Run") -> bool:
    """Whether params and tags are those that were logged; true for a run of an earlier version.

    Parameters
    ----------
    run : as the store has it.
    """
    stated = _stated(run)
    return stated is None or stated[0] == _facts(run, stated[2])


def metrics_intact(run: "Run") -> bool:
    """Whether the metrics are those that were logged; true for a run of an earlier version.

    Parameters
    ----------
    run : as the store has it.
    """
    stated = _stated(run)
    return stated is None or stated[1] == _digest(run.data.metrics)


def check_database(uri: str) -> None:
    """Raise InputError for an SQLite file that is damaged: its pages, indices, constraints or references.

    Parameters
    ----------
    uri : of the store; another than an existing SQLite file is not checked.
    """
    database = Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute()
    if not uri.startswith(_SQLITE) or not database.is_file():
        return
    hint = "Restore it from a copy; directories of runs have their results too"
    try:
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
        ) as connection:
            found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            lost = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.OperationalError as error:
        raise InputError("tracking.uri", f"the database can't be read ({error})", str(database)) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise InputError("tracking.uri", f"is damaged ({error})", str(database), hint=hint) from error
    if lost:
        found = f"a row of {lost[0]} lacks its row of {lost[2]}"
    if found != "ok":
        raise InputError("tracking.uri", f"is damaged ({' '.join(found.split())})", str(database), hint=hint)


def _stated(run: "Run") -> list[Any] | None:
    """Both checksums and the names of tags; wrong ones where they can't be read."""
    text = run.data.tags.get(_SEAL)
    if text is None:
        return None
    try:
        facts, metrics, names = json.loads(text)
        return [facts, metrics, list(map(str, names))]
    except (ValueError, TypeError):
        return ["", "", []]


def _facts(run: "Run", names: list[str]) -> str:
    tags = {name: run.data.tags.get(name) for name in names}
    times = [run.info.start_time, run.info.end_time]
    return _digest({"params": dict(run.data.params), "tags": tags, "times": times})


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
