"""Markdown, LaTeX and HTML of the same page, and what hostile names come to in each."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.report import Details, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.latex import escape as latex_escape
from fused_clip.report.markdown import escape as markdown_escape
from fused_clip.report.writer import read_table, write, write_table
from tests.records import SCRIPT, png

ODD = f"{SCRIPT} a|b_c $x$ 50% \\input{{x}} [l](u) &amp;"


def make_page(text: str = "plain") -> Page:
    rows = [
        [TableCell("task"), TableCell(".9000 ± .1000", 0.9, ["r1", "r2"])],
        [TableCell(text), TableCell("-", flag="missing")],
    ]
    table = Table(f"Caption {text}", [text, "accuracy"], rows, "results")
    blocks = [Prose(text), table, Figure(text, png()), Details("config", f"name: {text}\n```\n")]
    return Page(text, [Section(text, blocks)], [text])


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write(make_page(ODD), tmp_path)
    return tmp_path


class Reader(HTMLParser):
    """Tags, their addresses, and text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.policies: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.policies += [value or "" for name, value in attrs if name == "content"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data


def test_the_three_reports_the_figures_and_the_tables_are_written(tmp_path: Path) -> None:
    written = write(make_page(), tmp_path / "new" / "out")
    assert [path.name for path in written] == ["report.html", "report.md", "report.tex"]
    out = tmp_path / "new" / "out"
    assert (out / "figures" / "01.png").read_bytes() == png()
    (table,) = (block for block in make_page().sections[0].blocks if isinstance(block, Table))
    kept = read_table(out / "tables" / "results.json")
    assert (kept.caption, kept.columns) == (table.caption, table.columns)
    assert [[cell.text for cell in row] for row in kept.rows] == [["task", ".9000 ± .1000"], ["plain", "-"]]
    assert kept.rows[0][1].run_ids == ("r1", "r2")
    assert kept.rows[1][1].flag == "missing"


def test_html_fetches_nothing_and_runs_no_script_but_its_own(written: Path) -> None:
    page = Reader((written / "report.html").read_text())
    assert page.tags.count("script") == 1
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.text.count(SCRIPT) >= 5
    (policy,) = [value for value in page.policies if "default-src" in value]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy


def test_html_numbers_name_their_runs(written: Path) -> None:
    html = (written / "report.html").read_text()
    assert 'title="runs r1, r2"' in html
    assert 'data-value="0.9"' in html


def test_markdown_tables_keep_their_columns(written: Path) -> None:
    lines = (written / "report.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}
    assert SCRIPT not in "\n".join(line for line in lines if not line.startswith("name:"))
    assert '[.9000 ± .1000](report.html#run-r1 "runs r1, r2")' in table[2]


def test_markdown_fences_are_longer_than_any_inside(written: Path) -> None:
    assert (written / "report.md").read_text().count("````") == 2


def test_latex_has_a_booktabs_table_with_its_runs(written: Path) -> None:
    tex = (written / "report.tex").read_text()
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"{@{}lr@{}}", "% runs: r1 r2", r"$\pm$"):
        assert word in tex
    assert r"\input" not in tex
    assert r"50\%" in tex


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_latex_reads_any_text_as_it_is(text: str) -> None:
    escaped = latex_escape(text)
    bare = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#%_]|\{[*\[]\}", "", escaped)
    assert not set(bare) & set('\\{}$&#%_^~<>|"[*')


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_markdown_escapes_can_be_taken_back(text: str) -> None:
    escaped = markdown_escape(text)
    assert re.sub(r"\\([\\`*_{}\[\]<>#|~$&])", r"\1", escaped) == " ".join(text.split())
    assert "\n" not in escaped


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    rows = [[TableCell("ü", flag="f"), TableCell("1", 1.0, ("a", "b"))]]
    table = Table("c", ["x", "y"], rows, "t")
    write_table(table, tmp_path / "deep" / "t.json")
    assert read_table(tmp_path / "deep" / "t.json") == table
