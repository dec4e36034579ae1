"""An MLflow database with its tables: making them takes seconds, and most tests are not about that."""

import functools
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from fused_clip.tracking.schema import make_whole

OLD = "400f98739977"  # the schema of MLflow 3.0: tables and columns are missing


@functools.cache
def _template() -> bytes:
    with TemporaryDirectory() as folder:
        make_whole(Path(folder) / "mlflow.db")
        return (Path(folder) / "mlflow.db").read_bytes()


def with_database(output_dir: Path) -> Path:
    """Give a directory a database without runs; the directory."""
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "mlflow.db").write_bytes(_template())
    return output_dir


def old_database(database: Path) -> bytes:
    """A database as MLflow 3.0 made it, made at a path."""
    import mlflow
    from alembic import command
    from alembic.config import Config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(database))
    config = Config()
    config.set_main_option("script_location", str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=OFF")  # some hundred waits for the disk less
        Base.metadata.create_all(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    engine.dispose()
    return database.read_bytes()


def a_run(connection: sqlite3.Connection) -> None:
    """Add a finished run, "a1", of an experiment, "mine"."""
    connection.execute(
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'mine', 'active')"
    )
    connection.execute(
        "INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time, user_id)"
        "VALUES ('a1', 'mine', 1, 'FINISHED', 'active', 1, 'me')"
    )
