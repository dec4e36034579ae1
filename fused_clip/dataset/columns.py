"""A user's table, csv or Parquet: its columns, names as text, and the rows of each split."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fused_clip.dataset.names import shortened
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError


def existing_file(option: str, path: str | None) -> Path:
    """Give the path of a file that is there.

    Raises
    ------
    InputError
        If none is named, or there is no such file.
    """
    if path is None:
        raise InputError(option, "must name a file", path)
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(option, "must be an existing file", path)
    return file


def read_columns(option: str, file: Path, wanted: Mapping[str, str | None]) -> dict[str, list[Any]]:
    """Read columns of a table: Parquet by its suffix, tab-separated if ``.tsv``, else comma-separated.

    In text files every value is text, the first line names the columns, and spaces after a separator do not
    count unless quoted.

    Parameters
    ----------
    option : which names the file.
    wanted : option -> column that it names; None for a column that is not wanted.

    Returns
    -------
    Option -> values of its column, one a row; None where Parquet has a null.

    Raises
    ------
    InputError
        If the file can't be read, is without rows or without a column.
    """
    columns = {key: column for key, column in wanted.items() if column is not None}
    read = _read_parquet if file.suffix.lower() == ".parquet" else _read_text
    table = read(option, file, columns)
    if not all(table.values()):
        raise InputError(option, "must have a row", str(file))
    return table


def check_columns(wanted: Mapping[str, str], there: Iterable[str]) -> None:
    """Refuse columns that a table does not have.

    Raises
    ------
    InputError
    """
    known = list(there)
    for option, column in wanted.items():
        if column not in known:
            raise InputError(option, "must be a column of the data", column, choices=known)


def as_texts(option: str, values: Sequence[object]) -> list[str]:
    """Give the names that a column holds: text as it is, whole numbers by their digits.

    Raises
    ------
    InputError
        If a value is missing or is neither.
    """
    blank = [row for row, value in enumerate(values) if value is None or value == ""]
    if blank:
        rows = shortened(str(row) for row in blank)
        raise InputError(option, f"{len(blank)} of {len(values)} rows have no value (rows {rows}, from 0)")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise InputError(option, "must hold text or whole numbers", value)
    return [str(value) for value in values]


def rows_of_splits(option: str, values: Sequence[str], names: Iterable[str]) -> list[IntArray]:
    """Find the rows of each named split, ascending; rows of other splits are in none.

    Raises
    ------
    InputError
        If a split has no row.
    """
    column = np.array(values, dtype=object)
    found = {name: np.flatnonzero(column == name) for name in names}
    for name, rows in found.items():
        if not len(rows):
            raise InputError(option, "every split must have a row", name, choices=sorted(set(values)))
    return list(found.values())


def refuse_repeated(option: str, what: str, values: Iterable[str]) -> None:
    """Refuse values that stand twice.

    Raises
    ------
    InputError
        It names and counts them.
    """
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise InputError(option, f"each {what} may stand once; {len(repeated)} do not: {shortened(repeated)}")


def _read_text(option: str, file: Path, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    separator = "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        # Spreadsheets start UTF-8 files with a byte-order mark.
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(option, f"must be a readable table in UTF-8 ({error})", str(file)) from error
    (_, header), *body = rows or [(0, [])]
    check_columns(columns, header)
    for line, row in body:
        if len(row) != len(header):
            rule = (
                f"must have the {len(header)} values of its first line in every line; not so in line {line}"
            )
            raise InputError(option, rule, separator.join(row), hint="Put values that hold commas in quotes")
    return {key: [row[header.index(column)] for _, row in body] for key, column in columns.items()}


def _read_parquet(option: str, file: Path, columns: Mapping[str, str]) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_columns(columns, pq.read_schema(file).names)
        table = pq.read_table(file, columns=list(set(columns.values())))
    except (pa.ArrowException, OSError) as error:
        raise InputError(option, f"must be a readable Parquet file ({error})", str(file)) from error
    return {key: table.column(column).to_pylist() for key, column in columns.items()}
