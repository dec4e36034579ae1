"""Write the tables of the documents, and check their links.

A marker is a line ``<!-- NAME -->`` or ``<!-- NAME:FILE -->``; its table ends at ``<!-- /NAME -->``.

- ``report:FILE``: the table of FILE, whose path is relative to the document: a table of `fused_clip.report`
  (``.json``), one of plain values (``.csv``), or Markdown (``.md``), without its title;
- ``benchmarks``: the benchmarks of the machine that was measured last, and links to those of others;
- ``references``: the references of ``conf/reference``;
- ``options``: every option of a run;
- ``silent errors``: errors without a message, and the tests that find them.

``python -m experiments.docs`` writes the tables, and ``llms.txt`` from the documents' first sentences and
headings. ``--check`` lists those that differ, and broken links.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from experiments import llms
from fused_clip.report.markdown import escape, table_lines, table_text
from fused_clip.report.writer import read_table
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("*.md", "docs/**/*.md", "experiments/**/*.md", "fused_clip/**/*.md")
_START = re.compile(
    r"^<!-- (?P<name>report|benchmarks|references|options|silent errors)(?::(?P<file>.+?))? -->$",
    re.MULTILINE,
)
_CODE = re.compile(r"^(```+).*?^\1$|(`+)[^`].*?\2", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^()\s#]+)(?:#[^()\s]*)?(?: \"[^\"]*\")?\)")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:")


def documents(root: Path = ROOT) -> Iterator[Path]:
    """Yield every document of the repository.

    Parameters
    ----------
    root : folder of the repository.
    """
    for pattern in DOCUMENTS:
        yield from sorted(root.glob(pattern))


def updated(document: Path) -> str:
    """Return the text of a document with fresh tables.

    Parameters
    ----------
    document : a Markdown file.

    Raises
    ------
    InputError
        If a result file is missing or of an unknown kind, or a marker has no end.
    """
    text = document.read_text(encoding="utf-8")
    made, place = "", 0
    while marker := _START.search(text, place):
        closing = f"<!-- /{marker['name']} -->"
        end = text.find(f"\n{closing}", marker.end())
        following = _START.search(text, marker.end())
        if end < 0 or (following and following.start() < end):
            raise InputError(str(document), f"needs a line {closing} after", marker.group())
        made += text[place : marker.end()] + f"\n\n{_generated(document, marker['name'], marker['file'])}\n"
        place = end
    return made + text[place:]


def broken_links(document: Path) -> list[str]:
    """List the missing files that links and images of a document name; code is not searched.

    Parameters
    ----------
    document : a Markdown file.
    """
    text = _CODE.sub("", document.read_text(encoding="utf-8"))
    named = (unquote(link["target"]) for link in _LINK.finditer(text))
    return [name for name in named if not (_ADDRESS.match(name) or (document.parent / name).exists())]


def _generated(document: Path, name: str, file: str | None) -> str:
    if name == "references":
        return _references()
    if name == "benchmarks":
        from experiments.benchmarks.page import page

        return page(document.parent / "results")
    if name == "options":
        from experiments.option_tables import option_tables

        return option_tables()
    if name == "silent errors":
        return _silent_errors()
    return _table(document, file or "")


def _references() -> str:
    from fused_clip.method.reference import known_references

    rows = [
        [f"`{facts.name}`", escape(facts.title), escape(facts.explanation), escape(facts.uses_labels)]
        for facts in known_references().values()
        if (conf_dir() / "reference" / f"{facts.name}.yaml").is_file()  # not a plugin's
    ]
    return table_lines(["reference", "title", "explanation", "uses labels"], rows, set())


def _silent_errors() -> str:
    from tests.attack.silent_errors import PLANTED

    rows = [[escape(one.error), f"`{one.path}`", f"`{one.test.rpartition('/')[2]}`"] for one in PLANTED]
    return table_lines(["error", "planted in", "found by"], rows, set())


def _table(document: Path, name: str) -> str:
    path = document.parent / name
    if not path.is_file():
        raise InputError(str(document), "names a result file that is not there", name)
    if path.suffix == ".json":
        return table_text(read_table(path))
    if path.suffix == ".csv":
        return _plain_table(path)
    if path.suffix == ".md":
        return re.sub(r"\A# .*\n", "", path.read_text(encoding="utf-8")).strip()
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
    """Run the command line; return the exit code: 1 if a table fails or ``--check`` finds a difference.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    root : folder of the repository.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if one is wrong")
    check = parser.parse_args(arguments).check
    wrong = False
    overview = [root / llms.NAME] if (root / "pyproject.toml").is_file() else []
    for document in (*documents(root), *overview):
        name = document.relative_to(root)
        try:
            text = llms.overview(root, documents(root)) if document in overview else updated(document)
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        stale = not document.exists() or text != document.read_text(encoding="utf-8")
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
