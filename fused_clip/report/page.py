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
    text : what is read.
    value : number that the table sorts by; None sorts by `text`.
    run_ids : runs that the number comes from.
    flag : a short warning or comment, shown after the text.
    values : one number a run where the text is their mean and deviation.

    Raises
    ------
    ValueError
        If `value` is not finite.
    """

    text: str
    value: float | None = None
    run_ids: Sequence[str] = ()
    flag: str = ""
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(
                f"the value of a cell must be finite or None, got {self.value} for {self.text!r}"
            )

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

    Raises
    ------
    ValueError
        If a row is of another length.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    name: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"every row of {self.caption!r} must have {len(self.columns)} cells")

    @property
    def numeric(self) -> set[int]:
        """Positions of the columns that have a number in some row."""
        columns = range(len(self.columns))
        return {place for place in columns if any(row[place].value is not None for row in self.rows)}


@dataclass(frozen=True)
class RunTable(Table):
    """A table of runs, whose first column is their id: numbers link to its rows."""


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
    """A paragraph of plain text, without markup of any format.

    Parameters
    ----------
    text : the paragraph.
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
    problems : what the reader must know before she believes a number; shown first.
    """

    title: str
    sections: Sequence[Section]
    problems: Sequence[str] = ()
