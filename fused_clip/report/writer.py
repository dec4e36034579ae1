"""The files of a report."""

import dataclasses
import json
from pathlib import Path

from fused_clip.report.html import write_html
from fused_clip.report.latex import latex
from fused_clip.report.markdown import markdown
from fused_clip.report.page import Cell, Figure, Page, Table


def write(page: Page, directory: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``report.tex``, ``figures/*.png`` and ``tables/<name>.json``.

    Returns
    -------
    The three reports, the one to be looked at first.
    """
    directory.mkdir(parents=True, exist_ok=True)
    html, text, tex = (directory / f"report.{kind}" for kind in ("html", "md", "tex"))
    figures = _write_figures(page, directory)
    write_html(page, html)
    text.write_text(markdown(page, figures, html.name), encoding="utf-8")
    tex.write_text(latex(page, figures), encoding="utf-8")
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Table) and block.name:
                write_table(block, directory / "tables" / f"{block.name}.json")
    return [html, text, tex]


def write_table(table: Table, path: Path) -> None:
    """Keep a table as data: caption, columns, and rows of cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "caption": table.caption,
        "columns": list(table.columns),
        "rows": [[dataclasses.asdict(cell) for cell in row] for row in table.rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_table(path: Path) -> Table:
    """Read what `write_table` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [[Cell(**{**cell, "run_ids": tuple(cell["run_ids"])}) for cell in row] for row in content["rows"]]
    return Table(content["caption"], content["columns"], rows, path.stem)


def _write_figures(page: Page, directory: Path) -> dict[Figure, str]:
    blocks = [block for section in page.sections for block in section.blocks]
    figures = dict.fromkeys(block for block in blocks if isinstance(block, Figure))
    addresses = {}
    for number, figure in enumerate(figures, start=1):
        addresses[figure] = f"figures/{number:02}.png"
        path = directory / addresses[figure]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(figure.png)
    return addresses
