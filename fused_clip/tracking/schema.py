"""The file of a local MLflow database: checked, made and upgraded so that it is whole or as it was."""

import errno
import logging
import os
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from fused_clip.support.errors import InputError
from fused_clip.support.files import replacing, sync_folder
from fused_clip.tracking.schema_template import (
    copy_template,
    keep_template,
    schema_of,
    table_names,
    template_schema,
)

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

log = logging.getLogger(__name__)

_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
_HALF_COPIED = "_alembic_tmp_"  # start of the names of tables that a migration was filling
# MLflow's own rows: the state of its schema, and a workspace and an experiment that every database has.
_ITS_OWN = {"alembic_version": "1", "workspaces": "name = 'default'", "experiments": "experiment_id = 0"}
_ELSEWHERE = "name another database: tracking.uri=sqlite:////path/of/runs.db"


def check_file(database: Path) -> None:
    """Check, without making anything, that a path is free or a readable SQLite database.

    Parameters
    ----------
    database : its file.

    Raises
    ------
    InputError
        For a folder, a pipe, a file that can't be read, and a file of another kind.
    """
    try:
        if not database.exists():
            return
        if not database.is_file():
            raise InputError("tracking.uri", "must name a file, not a folder, pipe or device", str(database))
        if not os.access(database, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        rule = f"the database can't be read ({error.strerror})"
        raise InputError("tracking.uri", rule, str(database)) from error
    if not _is_sqlite(database):
        hint = f"To keep that file, {_ELSEWHERE}"
        raise InputError("tracking.uri", "the file is not a database of SQLite", str(database), hint=hint)


def _is_sqlite(database: Path) -> bool:
    """Whether SQLite takes a file for one of its own.

    SQLite itself must read it: to open and close the file here would end the locks of this process's other
    connections (https://sqlite.org/howtocorrupt.html, 2.2), and another process could take their log away.
    """
    place = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(place, uri=True)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        return error.sqlite_errorcode != sqlite3.SQLITE_NOTADB
    return True


def is_whole(database: Path) -> bool:
    """Whether a database has all tables of the installed MLflow, in their newest form.

    Parameters
    ----------
    database : its file.

    Raises
    ------
    InputError
        If a newer MLflow made it.
    sqlite3.Error, OSError
        If it, or MLflow's list of schemas, can't be read.
    """
    if not database.exists():
        return False
    import mlflow
    import mlflow.store.model_registry.dbmodels.models
    import mlflow.store.tracking.dbmodels.models
    from alembic.util import CommandError
    from mlflow.store.db.base_sql_model import Base

    with closing(sqlite3.connect(database)) as connection:
        found = schema_of(connection)
    if (newest := template_schema()) and newest.revisions == found.revisions:
        return found.tables >= newest.tables
    scripts = _scripts()
    heads = scripts.get_heads()
    for revision in found.revisions:
        try:
            scripts.get_revision(revision)
        except CommandError as error:
            rule = f"the database is of a newer MLflow than {mlflow.__version__} (schema {revision})"
            hint = f"Install that version, or {_ELSEWHERE}"
            raise InputError("tracking.uri", rule, str(database), hint=hint) from error
    return list(found.revisions) == heads and found.tables.issuperset(Base.metadata.tables)


def newest_schemas() -> list[str]:
    """List the newest form of MLflow's tables, of which the installed one knows one.

    Raises
    ------
    OSError
        If MLflow's list of schemas can't be read.
    """
    return list(_scripts().get_heads())


def _scripts() -> "ScriptDirectory":
    import mlflow
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if not scripts.get_heads():  # Alembic passes over a folder that can't be listed
        raise OSError(errno.EIO, os.strerror(errno.EIO), scripts.dir)
    return scripts


def make_whole(database: Path) -> None:
    """Make a database that is missing or empty, and upgrade or replace one that is not whole.

    All is done in a draft that takes its place at once: a process that is killed, or a power cut, leaves
    the one or the other. A database that can't be upgraded is set aside, with a warning, if it has no rows.
    The caller holds its lock.

    Parameters
    ----------
    database : its file, in a folder that exists.

    Raises
    ------
    InputError
        If a database with rows can't be upgraded, or is open in another process.
    sqlite3.Error, OSError
        If it can't be read or written.
    """
    database = Path(os.path.realpath(database))  # a link stays one
    if database.exists():
        with closing(sqlite3.connect(database)) as old:
            empty = not table_names(old)
            _hold(database, old)
            if empty or not _upgraded(database, old):
                _replace(database, aside=not empty)
    else:
        # A log without its database would be taken for the new one's.
        _replace(database, aside=True)


def _replace(database: Path, *, aside: bool = False) -> None:
    """Put a new database in place of the old one, which is set aside or empty."""
    with replacing(database) as draft:
        _fill(draft)
        if aside:
            _set_aside(database)


def _upgraded(database: Path, old: sqlite3.Connection) -> bool:
    """Upgrade a copy, which replaces the database; False if that fails and the database has no rows."""
    import mlflow

    try:
        with replacing(database) as draft:
            _fill(draft, old)
            shutil.copymode(database, draft)
            if not is_whole(draft):
                raise ValueError("tables are missing")
    except (
        Exception
    ) as error:  # of MLflow, Alembic, SQLAlchemy, or a migration that finds what it does not expect
        if not _has_rows(old):
            return False
        reason = (str(error) or repr(error)).splitlines()[0]
        rule = f"the database can't be upgraded to MLflow {mlflow.__version__}, and stays as it is ({reason})"
        hint = f"Restore a copy of it, or {_ELSEWHERE}"
        raise InputError("tracking.uri", rule, str(database), hint=hint) from error
    return True


def _hold(database: Path, old: sqlite3.Connection) -> None:
    """Take a database for this process alone, and end its log, which must not outlive it."""
    try:
        old.execute("PRAGMA journal_mode=DELETE")
        old.execute("PRAGMA locking_mode=EXCLUSIVE")  # the lock stays: SQLite copies nothing in a transaction
        old.execute("BEGIN EXCLUSIVE")
        old.execute("COMMIT")
        sync_folder(database.parent)  # else the log may be back after a power cut
    except sqlite3.OperationalError as error:
        rule = f"the database has to be upgraded, but another process has it open ({error})"
        hint = "End that process, such as MLflow's UI, and run again"
        raise InputError("tracking.uri", rule, str(database), hint=hint) from error


def _fill(draft: Path, old: sqlite3.Connection | None = None) -> None:
    """Write a database with MLflow's tables: new, or the old one upgraded.

    It is made in memory, where it takes a fifth of the time that it takes on a disk, or copied from the
    template there, which lacks the experiment that MLflow adds to a database when it opens it.
    """
    from mlflow import MlflowClient
    from mlflow.db import upgrade

    name = f"file:{uuid4().hex}?mode=memory&cache=shared"
    uri = f"sqlite:///{name}&uri=true"
    with closing(sqlite3.connect(name, uri=True)) as memory, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*'mode=memory'")  # about a choice of MLflow's
        if old is None:
            if not copy_template(memory):
                MlflowClient(uri, uri).search_experiments(max_results=1)
                keep_template(memory, ["experiments"])
        else:
            old.backup(memory)
            upgrade.main([uri], standalone_mode=False)
        with closing(sqlite3.connect(draft)) as file:
            file.execute("PRAGMA journal_mode=OFF")  # the draft itself is the way back
            file.execute("PRAGMA synchronous=FULL")
            memory.backup(file)
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.backup(memory)  # MLflow keeps it open to the end of the process


def _set_aside(database: Path) -> None:
    """Rename a database that is not whole, and what SQLite keeps beside it."""
    there = [end for end in ("", *_BESIDE) if Path(f"{database}{end}").exists()]
    if not there:
        return
    names = chain([f"{database}.incomplete"], (f"{database}.incomplete-{number}" for number in count(2)))
    aside = next(name for name in names if not any(Path(f"{name}{end}").exists() for end in ("", *_BESIDE)))
    log.warning("%s is a database without runs that was never finished; it is now %s.", database, aside)
    for end in there:
        Path(f"{database}{end}").rename(f"{aside}{end}")


def _has_rows(connection: sqlite3.Connection) -> bool:
    """Whether a database has more than MLflow's own rows."""
    return any(_rows(connection))


def _rows(connection: sqlite3.Connection) -> Iterator[bool]:
    for table in table_names(connection):
        own = _ITS_OWN.get(table.removeprefix(_HALF_COPIED), "0")
        quoted = table.replace('"', '""')
        query = f'SELECT 1 FROM "{quoted}" WHERE NOT ({own}) LIMIT 1'  # noqa: S608 - a name is no parameter
        yield bool(connection.execute(query).fetchall())
