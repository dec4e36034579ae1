"""An MLflow database with its tables: making them takes seconds, and most tests are not about that."""

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

from fused_clip.tracking.schema import make_whole


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
