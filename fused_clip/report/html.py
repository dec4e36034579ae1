"""A page as one self-contained HTML file."""

from pathlib import Path
from typing import Any

from fused_clip.report.page import Block, Page, RunTable, Table
from fused_clip.support import web


def write_html(page: Page, path: Path) -> None:
    """Write the page; figures become ``data:`` addresses, every text is escaped.

    Parameters
    ----------
    page : the report.
    path : of the HTML file.
    """
    sections = [
        {"title": section.title, "blocks": [_block(block) for block in section.blocks]}
        for section in page.sections
    ]
    web.render(
        "report.html",
        path,
        styles=("base.css", "report.css"),
        script="report.js",
        title=page.title,
        problems=page.problems,
        sections=sections,
    )


def _block(block: Block) -> tuple[str, Any]:
    if not isinstance(block, Table):
        return type(block).__name__, block
    # Links of numbers lead to the rows of the table of all runs.
    runs = isinstance(block, RunTable)
    rows = [{"cells": row, "run": row[0].text if runs else ""} for row in block.rows]
    return "Table", {
        "caption": block.caption,
        "columns": block.columns,
        "rows": rows,
        "numeric": block.numeric,
    }
