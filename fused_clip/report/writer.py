"""The files of a report."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fused_clip.report.latex import latex
from fused_clip.report.markdown import markdown
from fused_clip.report.page import Figure, Page, Table, TableCell
from fused_clip.support import web
from fused_clip.support.files import replacing


def write(page: Page, directory: Path) -> list[Path]:
    """Write ``report.html``, ``.md``, ``.tex``, ``figures/*.png``, ``tables/<name>.json`` and ``.csv``.

    Files of an earlier report are replaced when all files of this one are written.

    Parameters
    ----------
    page : the report.
    directory : is made if it is not there.

    Returns
    -------
    The paths of the three reports.
    """
    directory.mkdir(parents=True, exist_ok=True)
    html, text, tex = (directory / f"report.{kind}" for kind in ("html", "md", "tex"))
    with ExitStack() as drafts:

        def draft(path: Path) -> Path:
            path.parent.mkdir(exist_ok=True)
            return drafts.enter_context(replacing(path))

        figures = _figures(page)
        for figure, address in figures.items():
            draft(directory / address).write_bytes(figure.png)
        style = ("base.css", "report.css")
        web.render("report.html", draft(html), styles=style, script="report.js", **vars(page))
        draft(text).write_text(markdown(page, figures, html.name), encoding="utf-8")
        draft(tex).write_text(latex(page, figures), encoding="utf-8")
        for section in page.sections:
            for block in section.blocks:
                if isinstance(block, Table) and block.name:
                    path = directory / "tables" / f"{block.name}.json"
                    write_table(block, draft(path))
                    draft(path.with_suffix(".csv")).write_text(csv_text(block), encoding="utf-8")
    return [html, text, tex]


def write_table(table: Table, path: Path) -> None:
    """Keep a table as data: caption, columns, and rows of cells.

    Parameters
    ----------
    table : the file's name takes the place of its own.
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
    for cell in (cell for row in content["rows"] for cell in row):
        cell |= {name: tuple(cell.get(name, ())) for name in ("run_ids", "values")}
    rows = [[TableCell(**cell) for cell in row] for row in content["rows"]]
    return Table(content["caption"], content["columns"], rows, path.stem)


def csv_text(table: Table) -> str:
    """Return a table as CSV, for a program to read.

    Numbers are unrounded, and empty where there is none. Means are followed by ``<column>_sd`` (n - 1) and
    ``<column>_values`` (one value a run, separated by spaces), flags by ``<column>_note``. A heading that
    comes again gets a number.

    Parameters
    ----------
    table : of a report.
    """
    found: list[tuple[str, Sequence[object]]] = []
    for place, heading in enumerate(table.columns):
        again = list(table.columns[:place]).count(heading)
        name, cells = f"{heading}_{again + 1}" if again else heading, [row[place] for row in table.rows]
        numbers = place in table.numeric
        found.append((name, [cell.value if numbers else cell.text for cell in cells]))
        if any(len(cell.values) > 1 for cell in cells):
            found.append((f"{name}_sd", [cell.deviation for cell in cells]))
            found.append((f"{name}_values", [" ".join(map(str, cell.values)) for cell in cells]))
        if any(cell.flag for cell in cells):
            found.append((f"{name}_note", [cell.flag for cell in cells]))
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow([name for name, _ in found])
    lines.writerows(zip(*(fields for _, fields in found), strict=True))
    return file.getvalue()


def _figures(page: Page) -> dict[Figure, str]:
    """Figures with their addresses, each once."""
    blocks = [block for section in page.sections for block in section.blocks]
    figures = dict.fromkeys(block for block in blocks if isinstance(block, Figure))
    return {figure: f"figures/{number:02}.png" for number, figure in enumerate(figures, start=1)}
