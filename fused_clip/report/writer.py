"""The files of a report."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fused_clip.report.html import write_html
from fused_clip.report.latex import latex
from fused_clip.report.markdown import markdown
from fused_clip.report.page import Figure, Page, Table, TableCell


def write(page: Page, directory: Path) -> list[Path]:
    """Write ``report.html``, ``.md``, ``.tex``, ``figures/*.png``, ``tables/<name>.json`` and ``.csv``.

    Parameters
    ----------
    page : the report.
    directory : is made if it is not there.

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
                path = directory / "tables" / f"{block.name}.json"
                write_table(block, path)
                path.with_suffix(".csv").write_text(csv_text(block), encoding="utf-8")
    return [html, text, tex]


def write_table(table: Table, path: Path) -> None:
    """Keep a table as data: caption, columns, and rows of cells.

    Parameters
    ----------
    table : its name is not kept; the file's is.
    path : of a JSON file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "caption": table.caption,
        "columns": list(table.columns),
        "rows": [[dataclasses.asdict(cell) for cell in row] for row in table.rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_table(path: Path) -> Table:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path : of the JSON file.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [[_cell(**cell) for cell in row] for row in content["rows"]]
    return Table(content["caption"], content["columns"], rows, path.stem)


def _cell(run_ids: list[str], values: Sequence[float] = (), **fields: Any) -> TableCell:
    return TableCell(run_ids=tuple(run_ids), values=tuple(values), **fields)


def csv_text(table: Table) -> str:
    """Return a table as CSV, for a program to read.

    Numbers are unrounded, and empty where there is none. Means are followed by ``<column>_sd`` (n - 1) and
    ``<column>_values`` (one value a run, separated by spaces), flags by ``<column>_note``. A heading that
    comes again gets a number.

    Parameters
    ----------
    table : of a report.
    """
    columns: list[tuple[str, list[object]]] = []
    for place, heading in enumerate(table.columns):
        again = list(table.columns[:place]).count(heading)
        columns += _columns(
            f"{heading}_{again + 1}" if again else heading, [row[place] for row in table.rows]
        )
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow([name for name, _ in columns])
    lines.writerows(zip(*(fields for _, fields in columns), strict=True))
    return file.getvalue()


def _columns(name: str, cells: list[TableCell]) -> list[tuple[str, list[object]]]:
    """Return what CSV has for one column of a table: its fields and those that explain them."""
    numeric = any(cell.value is not None for cell in cells)
    found: list[tuple[str, list[object]]] = [(name, [cell.value if numeric else cell.text for cell in cells])]
    if any(len(cell.values) > 1 for cell in cells):
        found.append((f"{name}_sd", [cell.deviation for cell in cells]))
        found.append((f"{name}_values", [" ".join(map(str, cell.values)) for cell in cells]))
    if any(cell.flag for cell in cells):
        found.append((f"{name}_note", [cell.flag for cell in cells]))
    return found


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
