"""An MLflow database with its tables: making them takes seconds, and most tests are not about that."""

import functools
import os
from pathlib import Path
from tempfile import TemporaryDirectory


@functools.cache
def _template() -> bytes:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    with TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return (Path(folder) / "mlflow.db").read_bytes()


def with_database(output_dir: Path) -> Path:
    """Give a directory a database without runs; the directory."""
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "mlflow.db").write_bytes(_template())
    return output_dir
