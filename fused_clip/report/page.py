"""A report as data: a page of sections of tables, figures and text, which renderers turn into files."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TableCell:
    """One field of a table.

    Parameters
    ----------
    text : as shown.
    value : finite number that the table sorts by; None sorts by `text`.
    run_ids : runs that the number comes from.
    flag : a short warning or comment, shown after the text.
    values : one number a run where the text is their mean and deviation.
    """

    text: str
    value: float | None = None
    run_ids: Sequence[str] = ()
    flag: str = ""
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"the value of cell {self.text!r} must be finite or None, got {self.value}")

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation (n - 1) of `values`; None for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as there are columns.

    Parameters
    ----------
    caption : one line above the table.
    columns : headings.
    rows : cells of each row.
    name : of its data files, ``tables/<name>.json`` and ``tables/<name>.csv``; empty for no file.
    of_runs : whether the first column has ids of runs: numbers of the page link to these rows.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    name: str = ""
    of_runs: bool = False

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"every row of {self.caption!r} must have {len(self.columns)} cells")

    @property
    def numeric(self) -> set[int]:
        """Positions of the columns that have a number in some row."""
        columns = range(len(self.columns))
        return {place for place in columns if any(row[place].value is not None for row in self.rows)}


@dataclass(frozen=True)
class Figure:
    """A picture.

    Parameters
    ----------
    caption : one line.
    png : bytes of a PNG file.
    """

    caption: str
    png: bytes


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text.

    Parameters
    ----------
    text : the paragraph; markup of any format is escaped.
    """

    text: str


@dataclass(frozen=True)
class Details:
    """Preformatted text, folded away until its summary is clicked.

    Parameters
    ----------
    summary : one line that is always shown.
    text : the folded lines.
    """

    summary: str
    text: str


Block = Table | Figure | Prose | Details


@dataclass(frozen=True)
class Section:
    """Blocks below a heading.

    Parameters
    ----------
    title : the heading.
    blocks : from top to bottom.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Parameters
    ----------
    title : main heading.
    sections : from top to bottom.
    problems : warnings about the numbers, shown first.
    """

    title: str
    sections: Sequence[Section]
    problems: Sequence[str] = ()
