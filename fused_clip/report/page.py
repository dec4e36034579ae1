"""A report as data: a page of sections of tables, figures and words, which renderers turn into files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One field of a table.

    Parameters
    ----------
    text : what is read.
    value : number that the table sorts by; None sorts by `text`.
    run_ids : runs that the number comes from.
    flag : a word or a few of warning or comment, shown beside the text.

    Raises
    ------
    ValueError
        If `value` is not finite.
    """

    text: str
    value: float | None = None
    run_ids: Sequence[str] = ()
    flag: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(
                f"the value of a cell must be finite or None, got {self.value} for {self.text!r}"
            )


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as there are columns.

    Parameters
    ----------
    name : of the file that holds the table as data, ``tables/<name>.json``; empty: no file.

    Raises
    ------
    ValueError
        If a row is of another length.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    name: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"every row of {self.caption!r} must have {len(self.columns)} cells")

    @property
    def numeric(self) -> set[int]:
        """Positions of the columns that hold numbers, beside cells without a value."""
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
    png : bytes of a PNG file.
    """

    caption: str
    png: bytes


@dataclass(frozen=True)
class Prose:
    """A paragraph of plain text: no markup of any format."""

    text: str


@dataclass(frozen=True)
class Details:
    """Preformatted text that is folded away until its summary is clicked."""

    summary: str
    text: str


Block = Table | Figure | Prose | Details


@dataclass(frozen=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole report.

    Parameters
    ----------
    problems : what the reader must know before she believes a number; shown first.
    """

    title: str
    sections: Sequence[Section]
    problems: Sequence[str] = ()
