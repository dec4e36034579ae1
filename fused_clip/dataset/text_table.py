"""Text tables, separated by commas, semicolons or tabs, read row by row."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fused_clip.support.errors import InputError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def text_rows(option: str, file: Path, wanted: Mapping[str, str]) -> Iterator[list[str]]:
    """Read columns of a text table in UTF-8, row by row.

    The first line names the columns; the separator is the one of comma, semicolon and tab that splits it into
    most names, and a tab in a ``.tsv`` file. Spaces after a separator are dropped unless quoted.

    Parameters
    ----------
    option : names the file in errors.
    file : the table.
    wanted : option -> column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets write a byte-order mark
            first = next(filter(str.strip, iter(lines.readline, "")), "")
            mark = "\t" if file.suffix.lower() == ".tsv" else _separator(first)
            lines.seek(0)
            reader = csv.reader(lines, delimiter=mark, skipinitialspace=True, strict=True)
            rows = filter(None, reader)
            header = next(rows, [])
            check_columns(wanted, header, f"the data, read with {_SEPARATORS[mark]} as separators")
            places = [header.index(column) for column in wanted.values()]
            for row in rows:
                if len(row) != len(header):
                    rule = f"must have {len(header)} values in every line, as in its first; not so in line"
                    hint = f"Put values that contain {_SEPARATORS[mark]} in quotes"
                    raise InputError(option, f"{rule} {reader.line_num}", mark.join(row), hint=hint)
                yield [row[place] for place in places]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(option, f"must be a readable table in UTF-8 ({error})", str(file)) from error


def check_columns(wanted: Mapping[str, str], known: Iterable[str], table: str = "the data") -> None:
    """Refuse columns that a table does not have, or has more than once.

    Parameters
    ----------
    wanted : option -> column that it names.
    known : columns of the table.
    table : what the error calls it.
    """
    columns = list(known)
    for option, column in wanted.items():
        if column not in columns:
            raise InputError(option, f"must be a column of {table}", column, choices=columns)
        if columns.count(column) > 1:
            rule = f"must be one column of {table}, and {columns.count(column)} have that name"
            raise InputError(option, rule, column)


def _separator(line: str) -> str:
    """The mark that splits a line into most fields; a comma if none does."""
    return max(_SEPARATORS, key=lambda mark: len(next(csv.reader([line], delimiter=mark), [])))
