"""Tables of documents, written from the result files that the repository keeps; links that lead somewhere.

Between a line ``<!-- report:FILE -->`` and the next ``<!-- /report -->`` stands the table of FILE, whose
path is relative to the document: a table of `fused_clip.report` (``.json``), one of plain values (``.csv``),
or Markdown (``.md``). Between ``<!-- options -->`` and ``<!-- /options -->`` stand all options of a run.
``python -m experiments.docs`` writes them anew; ``--check`` only lists those that differ, and links and
images that name missing files.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from experiments.option_tables import option_tables
from fused_clip.report.markdown import cell_text, escape, table_lines
from fused_clip.report.writer import read_table
from fused_clip.support.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("*.md", "docs/**/*.md", "experiments/**/*.md", "fused_clip/**/*.md")
_START = re.compile(r"^<!-- (?P<kind>report:(?P<file>.+?)|options) -->$", re.MULTILINE)
_CODE = re.compile(r"^(```+).*?^\1$|(`+)[^`].*?\2", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^()\s#]+)(?:#[^()\s]*)?(?: \"[^\"]*\")?\)")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:")


def documents(root: Path = ROOT) -> Iterator[Path]:
    """Every document of the repository, in order."""
    for pattern in DOCUMENTS:
        yield from sorted(root.glob(pattern))


def updated(document: Path) -> str:
    """Text of a document with its tables as their files say.

    Raises
    ------
    InputError
        If a file is not there, or is of no known kind, or a marker has no end.
    """
    text = document.read_text(encoding="utf-8")
    made, place = "", 0
    while marker := _START.search(text, place):
        closing = f"<!-- /{marker['kind'].partition(':')[0]} -->"
        end = text.find(f"\n{closing}", marker.end())
        following = _START.search(text, marker.end())
        if end < 0 or (following and following.start() < end):
            raise InputError(str(document), f"needs a line {closing} after", marker.group())
        table = _table(document, marker["file"]) if marker["file"] else option_tables()
        made += text[place : marker.end()] + f"\n\n{table}\n"
        place = end
    return made + text[place:]


def broken_links(document: Path) -> list[str]:
    """Files that links and images of a document name, and that are not there; code is not looked at."""
    text = _CODE.sub("", document.read_text(encoding="utf-8"))
    named = (unquote(link["target"]) for link in _LINK.finditer(text))
    return [name for name in named if not (_ADDRESS.match(name) or (document.parent / name).exists())]


def _table(document: Path, name: str) -> str:
    path = document.parent / name
    if not path.is_file():
        raise InputError(str(document), "names a result file that is not there", name)
    if path.suffix == ".json":
        table = read_table(path)
        rows = [[cell_text(cell) for cell in row] for row in table.rows]
        return f"{escape(table.caption)}\n\n{table_lines(table.columns, rows, table.numeric)}"
    if path.suffix == ".csv":
        return _plain_table(path)
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8").strip()
    raise InputError(str(document), "takes .json, .csv or .md", name)


def _plain_table(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    numeric = {place for place in range(len(columns)) if rows and all(_is_number(row[place]) for row in rows)}
    return table_lines(columns, [[escape(field) for field in row] for row in rows], numeric)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; give the exit code: 1 if a table can't be made or ``--check`` finds something."""
    parser = argparse.ArgumentParser(prog="python -m experiments.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if one is wrong")
    check = parser.parse_args(arguments).check
    wrong = False
    for document in documents(root):
        name = document.relative_to(root)
        try:
            text = updated(document)
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        stale = text != document.read_text(encoding="utf-8")
        if check:
            problems = ["its tables differ: make docs"] if stale else []
            problems += [f"links to {target}, which is not there" for target in broken_links(document)]
            for problem in problems:
                print(f"{name}: {problem}")
            wrong |= bool(problems)
        elif stale:
            document.write_text(text, encoding="utf-8")
            print(f"{name}: written")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
