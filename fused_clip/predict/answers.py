"""The table of predictions, as csv or Parquet."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.predict.journal import Record
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, replacing

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("path", "target", "probability", "margin", "runner_up", "cluster", "abstained")
_ROWS_A_GROUP = 50_000


@contextmanager
def place(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Have the place of the table for one process alone, for the length of a with block.

    Yields
    ------
    Where what is predicted so far is kept, beside the table.

    Raises
    ------
    InputError
        If the suffix is not known, the folder is not there, the file is, or another process predicts into it.
    """
    if path.suffix not in _WRITERS:
        raise InputError("out", "must end in one of these", path.name, choices=list(_WRITERS))
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError("out", "its folder must exist, and be one that can be written", str(path.parent))
    if path.is_dir():
        raise InputError("out", "must be a file, and is a folder", str(path))
    partial = path.with_name(f"{path.name}.partial")
    lock = path.with_name(f"{partial.name}.lock")
    with locked(lock, wait=False) as alone:
        if not alone:
            raise InputError("out", "another process predicts into it: let it end, or stop it", str(path))
        try:
            if path.exists() and not overwrite:
                raise InputError("out", "must not exist yet", str(path), hint="--overwrite replaces it")
            yield partial
        finally:
            with suppress(OSError):  # some systems delete no file that is open
                lock.unlink()


def write(path: Path, records: Iterable[Record], *, errors: bool) -> None:
    """Write the table whole, or not at all; memory does not grow with it.

    Parameters
    ----------
    records : one an image; those with an ``error`` have no answer.
    errors : whether images that can't be read have a row, with the reason in a column ``error``.

    Raises
    ------
    InputError
        If it can't be written.
    """
    columns = (*COLUMNS, "error") if errors else COLUMNS
    kept = (record for record in records if errors or "error" not in record)
    try:
        with replacing(path) as draft:
            _WRITERS[path.suffix](draft, columns, kept)
    except OSError as error:
        hint = "What is predicted is kept: free space, and run the same command again"
        raise InputError("out", f"{path} can't be written ({error.strerror})", hint=hint) from error


def _write_csv(path: Path, columns: tuple[str, ...], records: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        plain, quoted = (
            csv.writer(file, lineterminator="\n", quoting=rule) for rule in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        plain.writerow(columns)
        for record in records:
            row = [_text(record.get(column)) for column in columns]
            # Readers take it for the end of a line.
            writer = quoted if any("\r" in value for value in row) else plain
            writer.writerow(row)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_parquet(path: Path, columns: tuple[str, ...], records: Iterable[Record]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(columns)
    with pq.ParquetWriter(path, schema) as writer:
        for some in batched(records, _ROWS_A_GROUP):
            arrays = [
                pa.array([record.get(field.name) for record in some], type=field.type) for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _schema(columns: tuple[str, ...]) -> "pa.Schema":
    import pyarrow as pa

    kinds = {
        "probability": pa.float32(),
        "margin": pa.float32(),
        "cluster": pa.int32(),
        "abstained": pa.bool_(),
    }
    return pa.schema([(column, kinds.get(column, pa.string())) for column in columns])


_WRITERS: dict[str, Callable[[Path, tuple[str, ...], Iterable[Record]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
