"""The file of predictions: csv, Parquet or JSON lines, with the same columns."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused_clip.predict.journal import Record, write_errors
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, replacing

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("path", "target", "probability", "margin", "runner_up", "cluster", "abstained")
NESTED = ("neighbors", "composition")  # values that a field of a table can't have
EXPLANATION = (*NESTED, "prompt", "prompt_share")  # of fused_clip.predict.explanation
_SUFFIXES = (".csv", ".parquet", ".jsonl")
_PAGES = (".html", ".htm")
_ROWS_A_GROUP = 50_000


@contextmanager
def place(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lock the file of predictions; yield the place of the partial predictions, in the same folder.

    Parameters
    ----------
    path : the file; its suffix decides the format.
    overwrite : whether to replace an existing file.
    """
    if path.suffix not in _SUFFIXES:
        raise InputError("out", "must end in one of these", path.name, choices=_SUFFIXES)
    check_place("out", path, overwrite=True)  # another process may be about to write it
    draft = path.with_name(f"{path.name}.partial")
    lock = path.with_name(f"{draft.name}.lock")
    with locked(lock, wait=False, option="out") as alone:
        if not alone:
            raise InputError("out", "another process predicts into it: let it end, or stop it", str(path))
        try:
            check_place("out", path, overwrite=overwrite)
            yield draft
        finally:
            with suppress(OSError):  # some systems delete no file that is open
                lock.unlink()


def check_place(option: str, path: Path, *, overwrite: bool) -> None:
    """Raise InputError if a file can not be written.

    Parameters
    ----------
    option : names the file.
    path : the file.
    overwrite : whether to replace an existing file.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(option, "must be in an existing folder that can be written", str(path.parent))
    if path.is_dir():
        raise InputError(option, "must be a file, and is a folder", str(path))
    if path.exists() and not overwrite:
        raise InputError(option, "must not exist yet", str(path), hint="--overwrite replaces it")


def check_page(path: Path, *, overwrite: bool) -> None:
    """Raise InputError if the page of thumbnails can not be written.

    Parameters
    ----------
    path : the page.
    overwrite : whether to replace an existing one; another kind of file, such as an image, is kept.
    """
    check_place("gallery", path, overwrite=overwrite)
    if path.suffix not in _PAGES:
        raise InputError("gallery", "must end in one of these", path.name, choices=_PAGES)


def refuse_same(option: str, path: Path, other: str | Path) -> None:
    """Raise InputError if two names, which may be links, are of one file.

    Parameters
    ----------
    option : names the file that will be written.
    path : the file.
    other : that must be kept.
    """
    there = os.path.realpath(os.path.expanduser(other))
    same = os.path.realpath(path) == there
    with suppress(OSError):
        same = same or os.path.samefile(path, there)
    if same:
        raise InputError(option, "must be another file than the command's other files", str(path))


def write(path: Path, records: Iterable[Record], columns: Sequence[str] = COLUMNS) -> None:
    """Write the file atomically, in constant memory.

    Parameters
    ----------
    path : the file; its suffix decides the format.
    records : one per image; those with an ``error`` are left out, unless that is a column.
    columns : `COLUMNS`, then further ones, then ``error``. Those of `NESTED` are JSON in a text, but
        values of their own in a ``.jsonl`` file.
    """
    kept = (record for record in records if "error" in columns or "error" not in record)
    with write_errors(path), replacing(path) as draft:
        (_write_lines if path.suffix == ".jsonl" else _write_table)(draft, path.suffix, columns, kept)


def _write_lines(path: Path, suffix: str, columns: Sequence[str], records: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            row = {column: _finite(record.get(column)) for column in columns}
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """Replace an infinite margin by None, as JSON has no number for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_table(path: Path, suffix: str, columns: Sequence[str], records: Iterable[Record]) -> None:
    import pyarrow as pa
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(column, _kind(column)) for column in columns])
    records = map(_plain, records)
    if suffix == ".csv" and "set" in columns:
        records = ({**record, "set": _joined(record.get("set"))} for record in records)
        schema = schema.set(columns.index("set"), pa.field("set", pa.string()))
    with (CSVWriter if suffix == ".csv" else ParquetWriter)(path, schema) as writer:
        for some in batched(records, _ROWS_A_GROUP):
            writer.write_batch(pa.RecordBatch.from_pylist(some, schema))


def _plain(record: Record) -> Record:
    """A record whose explanation fits in fields of a table."""
    nested = {column: record[column] for column in NESTED if column in record}
    return {**record, **{column: json.dumps(value, ensure_ascii=False) for column, value in nested.items()}}


def _joined(names: Sequence[str] | None) -> str | None:
    """Names as text, with a bar between them; a bar in a name has a backslash in front."""
    return (
        None if names is None else "|".join(name.replace("\\", r"\\").replace("|", r"\|") for name in names)
    )


def _kind(column: str) -> "pa.DataType":
    import pyarrow as pa

    if column.startswith(("probability", "margin", "p:", "prompt_share")):
        return pa.float32()
    kinds = {"cluster": pa.int32(), "set_size": pa.int32(), "set": pa.list_(pa.string())}
    return pa.bool_() if column in ("abstained", "unknown") else kinds.get(column, pa.string())
