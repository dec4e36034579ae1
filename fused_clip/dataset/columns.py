"""A user's table, csv or Parquet: its columns, names as text, and the rows of each split."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fused_clip.dataset.names import shortened
from fused_clip.dataset.parquet import ParquetTable
from fused_clip.dataset.text_table import check_columns, text_rows
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError


def existing_file(option: str, path: str | None) -> Path:
    """Give the path of a file that is there.

    Parameters
    ----------
    option : names the value in errors.
    path : of the file.
    """
    if path is None:
        raise InputError(option, "must name a file", path)
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(option, "must be an existing file", path)
    return file


def read_columns(option: str, file: Path, wanted: Mapping[str, str | None]) -> dict[str, list[Any]]:
    """Read columns of a table, Parquet or text: option -> values.

    Parameters
    ----------
    option : names the file in errors.
    file : the table; ``.parquet``, or text as `text_rows` reads it.
    wanted : option -> column; None is skipped.
    """
    columns = {key: column for key, column in wanted.items() if column is not None}
    if file.suffix.lower() == ".parquet":
        parquet = ParquetTable(option, file)
        check_columns(columns, parquet.schema.names)
        whole = parquet.read(list(columns.values()))
        values = [whole.column(column).to_pylist() for column in columns.values()]
    else:
        values = [list(column) for column in zip(*text_rows(option, file, columns), strict=True)]
    if not values or not values[0]:
        raise InputError(option, "must have a row", str(file))
    return dict(zip(columns, values, strict=True))


def as_texts(option: str, values: Sequence[object], *, blanks: bool = False, hint: str = "") -> list[str]:
    """Return the names in a column: text as it is, whole numbers by their digits.

    Parameters
    ----------
    option : names the value in errors.
    values : of the column.
    blanks : whether a row may have no value; it is then empty.
    hint : what to do about rows without a value.
    """
    values = ["" if value is None else value for value in values]
    blank = [] if blanks else [row for row, value in enumerate(values) if value == ""]
    if blank:
        rows = shortened(str(row) for row in blank)
        rule = f"{len(blank)} of {len(values)} rows have no value (rows {rows}, from 0)"
        raise InputError(option, rule, hint=hint)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise InputError(option, "must contain text or whole numbers", value)
    return [str(value) for value in values]


def rows_of_splits(option: str, values: Sequence[str], names: Iterable[str]) -> list[IntArray]:
    """Find the rows of each named split, ascending; rows of other splits are in none.

    Parameters
    ----------
    option : names the value in errors.
    values : split of each row.
    names : of the splits.
    """
    column = np.array(values, dtype=object)
    found = {name: np.flatnonzero(column == name) for name in names}
    for name, rows in found.items():
        if not len(rows):
            raise InputError(option, "every split must have a row", name, choices=sorted(set(values)))
    return list(found.values())


def refuse_repeated(option: str, what: str, values: Iterable[str]) -> None:
    """Refuse values that stand twice.

    Parameters
    ----------
    option : names the value in errors.
    what : noun for a value.
    values : that must be distinct.
    """
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise InputError(option, f"each {what} may stand once; {len(repeated)} do not: {shortened(repeated)}")
