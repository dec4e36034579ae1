"""An empty MLflow database, kept in the user's cache folder: a new one is a copy of it.

MLflow takes a second to make its tables, and half as long to say whether a database has them all.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from fused_clip.support.files import read_regular, write_atomic

_MOST = 50_000_000  # bytes; MLflow 3.17 makes 1 MB
_DIGEST = 32  # bytes of a SHA-256 before the database: SQLite reads damage without a word


class Schema(NamedTuple):
    """The form of a database.

    Parameters
    ----------
    revisions : of Alembic.
    tables : names.
    """

    revisions: tuple[str, ...]
    tables: frozenset[str]


def schema_of(connection: sqlite3.Connection) -> Schema:
    """Read the form of a database.

    Parameters
    ----------
    connection : to it.

    Raises
    ------
    sqlite3.Error
        If it can't be read.
    """
    tables = frozenset(table_names(connection))
    known = "alembic_version" in tables
    found = connection.execute("SELECT version_num FROM alembic_version") if known else ()
    return Schema(tuple(revision for (revision,) in found), tables)


def table_names(connection: sqlite3.Connection) -> list[str]:
    """List the tables of a database, without SQLite's own.

    Parameters
    ----------
    connection : to it.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    return [name for (name,) in connection.execute(query)]


def template_schema() -> Schema | None:
    """Give the form of the template of the installed MLflow; None if there is no whole one."""
    content = _read()
    return None if content is None else _schema(content)


def copy_template(memory: sqlite3.Connection) -> bool:
    """Fill a database in memory with the template; False if there is no whole one of the installed MLflow.

    Parameters
    ----------
    memory : connection to an empty database.
    """
    content = _read()
    if content is None:
        return False
    with closing(sqlite3.connect(":memory:")) as template:
        template.deserialize(content)
        template.backup(memory)
    return True


def keep_template(memory: sqlite3.Connection, own_rows: Iterable[str]) -> None:
    """Keep a new database as the template; without a cache folder that can be written, none is kept.

    Parameters
    ----------
    memory : connection to a database that MLflow has just made.
    own_rows : tables whose rows MLflow makes anew where they are missing, such as the folder of artifacts.
    """
    place = _place()
    if place is None:
        return
    with closing(sqlite3.connect(":memory:")) as template:
        memory.backup(template)
        for table in own_rows:
            template.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names of ours
        template.commit()
        content = template.serialize()
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, hashlib.sha256(content).digest() + content)


def _read() -> bytes | None:
    """The template, if it is there and whole."""
    place = _place()
    try:
        kept = b"" if place is None else read_regular(place, _MOST)
    except OSError:
        return None
    digest, content = kept[:_DIGEST], kept[_DIGEST:]
    return content if content and hashlib.sha256(content).digest() == digest else None


def _schema(content: bytes) -> Schema:
    with closing(sqlite3.connect(":memory:")) as template:
        template.deserialize(content)
        return schema_of(template)


def _place() -> Path | None:
    """File of the template, named by MLflow's version and its list of schemas; None without a home."""
    import mlflow

    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fused_clip"
        scripts = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"
        names = sorted(name for name in os.listdir(scripts) if name.endswith(".py"))
    except (OSError, RuntimeError):
        return None
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return Path(os.environ.get("FUSED_CLIP_CACHE") or usual) / f"mlflow-{mlflow.__version__}-{digest}.db"
