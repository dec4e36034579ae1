"""A page, or a table alone, as GitHub's Markdown."""

import re
from collections.abc import Mapping, Sequence

from fused_clip.report.page import Block, Cell, Details, Figure, Page, Prose, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def escape(text: str) -> str:
    """`text` on one line, read as it is and not as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown(page: Page, figures: Mapping[Figure, str], html: str) -> str:
    """Write a page.

    Parameters
    ----------
    figures : address of each figure's file.
    html : address of the HTML page, which the numbers link to for their runs.
    """
    parts = [f"# {escape(page.title)}"]
    if page.problems:
        parts.append("**Read this first**\n\n" + "\n".join(f"- {escape(text)}" for text in page.problems))
    for section in page.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [_block(block, figures, html) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> str:
    """Lay out a table of escaped fields; columns of numbers are aligned right."""
    rule = ["---:" if place in numeric else "---" for place in range(len(columns))]
    return "\n".join("| " + " | ".join(row) + " |" for row in ([*map(escape, columns)], rule, *rows))


def cell_text(cell: Cell, html: str = "") -> str:
    """A field with its flag; with `html`, its text links to its runs there."""
    text = escape(cell.text)
    if html and cell.run_ids:
        noun = "run" if len(cell.run_ids) == 1 else "runs"
        text = f'[{text}]({html}#run-{cell.run_ids[0]} "{noun} {", ".join(cell.run_ids)}")'
    return f"{text} *({escape(cell.flag)})*" if cell.flag else text


def _block(block: Block, figures: Mapping[Figure, str], html: str) -> str:
    match block:
        case Table():
            rows = [[cell_text(cell, html) for cell in row] for row in block.rows]
            return f"{escape(block.caption)}\n\n{table_lines(block.columns, rows, block.numeric)}"
        case Figure():
            return f"![{escape(block.caption)}]({figures[block]})"
        case Prose():
            return escape(block.text)
        case Details():
            fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", block.text) or [""]))
            return f"{escape(block.summary)}:\n\n{fence}\n{block.text}\n{fence}"
