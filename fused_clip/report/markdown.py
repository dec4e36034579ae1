"""A page, or a table alone, as GitHub's Markdown that also reads well as raw text."""

import re
from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from fused_clip.report.page import Block, Details, Figure, Page, Prose, Table, TableCell

# What begins markup where it stands (CommonMark 0.31 and GitHub's math, tables and strikethrough). Brackets
# that no address follows, and underscores inside words, begin none.
_SPECIAL = re.compile(
    r"[\\`*|~$]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<!\S)#"
)
_OPENS_BLOCK = re.compile(r"^(?:(?=[-+>])|\d+(?=[.)]))")
_WIDEST = 40  # columns; a longer field would push all others out of sight


def escape(text: str) -> str:
    """Return `text` on one line, with every markup escaped.

    Parameters
    ----------
    text : for a heading, a field of a table, or inside a line.
    """
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def paragraph(text: str) -> str:
    """Return `text` as a line of its own, which begins no list, quotation or heading.

    Parameters
    ----------
    text : any.
    """
    return _OPENS_BLOCK.sub(r"\g<0>\\", escape(text))


def markdown(page: Page, figures: Mapping[Figure, str], html: str) -> str:
    """Write a page.

    Parameters
    ----------
    page : the report.
    figures : address of each figure's file.
    html : address of the HTML page, which links each number to its runs.
    """
    parts = [
        f"# {escape(page.title)}",
        f"In [the HTML page]({html}) tables sort, and numbers link to their runs.",
    ]
    if page.problems:
        parts.append("**Read this first**\n\n" + "\n".join(f"- {paragraph(text)}" for text in page.problems))
    for section in page.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block, figures) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    """Write a table below its caption.

    Parameters
    ----------
    table : its flags stand in italics.
    """
    rows = [[_field(cell) for cell in row] for row in table.rows]
    return f"{paragraph(table.caption)}\n\n{table_lines(table.columns, rows, table.numeric)}"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> str:
    """Lay out a table of escaped fields, padded so that columns stand below each other as raw text.

    Parameters
    ----------
    columns : headings, not escaped.
    rows : fields of each row.
    numeric : positions of the columns that are aligned right.
    """
    heads = [escape(column) for column in columns]
    widths = [
        max(3, *(min(cell_len(field), _WIDEST) for field in column))
        for column in zip(heads, *rows, strict=True)
    ]
    rule = ["-" * (width - 1) + (":" if place in numeric else "-") for place, width in enumerate(widths)]
    lines = []
    for row in (heads, rule, *rows):
        fields = []
        for place, (field, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(field))
            fields.append(gap + field if place in numeric else field + gap)
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join(lines)


def _field(cell: TableCell) -> str:
    text = escape(cell.text)
    return f"{text} *({escape(cell.flag)})*" if cell.flag else text


def _block(block: Block, figures: Mapping[Figure, str]) -> str:
    match block:
        case Table():
            return table_text(block)
        case Figure():
            return f"![{escape(block.caption)}]({figures[block]})"
        case Prose():
            return paragraph(block.text)
        case Details():
            fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", block.text) or [""]))
            return f"{paragraph(block.summary)}:\n\n{fence}\n{block.text}\n{fence}"
