"""Markdown, LaTeX and HTML of the same page, and what hostile names come to in each."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fused_clip.report import Details, Figure, Page, Prose, Section, Table, TableCell
from fused_clip.report.latex import escape as latex_escape
from fused_clip.report.markdown import escape as markdown_escape
from fused_clip.report.markdown import paragraph, table_text
from fused_clip.report.writer import csv_text, read_table, write, write_table
from tests.records import SCRIPT, png

ODD = f"{SCRIPT} a|b_c $x$ 50% \\input{{x}} [l](u) &amp;"


def make_page(text: str = "plain") -> Page:
    rows = [
        [TableCell("task"), TableCell(".9000 ± .1000", 0.9, ["r1", "r2"], values=[0.8, 1.0])],
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
    assert (out / "tables" / "results.csv").read_text().startswith("plain,accuracy,accuracy_sd,")


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


def test_markdown_tables_read_well_as_raw_text() -> None:
    rows = [
        [TableCell("task"), TableCell(".9000 ± .1000", 0.9, ["r1", "r2"], values=[0.8, 1.0])],
        [TableCell("画像 only"), TableCell("-", flag="missing")],
        [TableCell("x" * 60), TableCell("1.0000", 1.0)],
    ]
    assert table_text(Table("a_b", ["prompt", "accuracy"], rows)).splitlines() == [
        "a_b",
        "",
        "| prompt                                   |      accuracy |",
        "| ---------------------------------------- | ------------: |",
        "| task                                     | .9000 ± .1000 |",
        "| 画像 only                                | - *(missing)* |",
        f"| {'x' * 60} |        1.0000 |",
    ]


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


def rendered(text: str) -> list[str]:
    """Types of what CommonMark, with tables and strikethrough, makes of `text`; plain text is its content."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    kinds = [token.type for token in parser.parse(text)]
    inline = [child for token in parser.parse(text) for child in token.children or []]
    return [*kinds, *(child.content if child.type == "text" else child.type for child in inline)]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
@example("1. a")
@example("[a]: b")
@example("[l](u) <b> &amp; a_b _c_ *d* `e` ~~f~~ \\ # g")
@example("- x")
def test_markdown_reads_any_text_as_it_is(text: str) -> None:
    words = " ".join(text.split())
    made = rendered(paragraph(text))
    plain = ["paragraph_open", "inline", "paragraph_close", words.replace("\0", "\ufffd")]
    assert [*made[:3], "".join(made[3:])] == plain if words else made == []


def test_markdown_escapes_nothing_that_begins_no_markup() -> None:
    for text in ("n_train [-.0010, +.0020] < .001", "{a} & b > c", "C# a-b 50%", "compact's .8 ± .1"):
        assert markdown_escape(text) == text


def test_csv_has_plain_numbers() -> None:
    rows = [
        [TableCell("task"), TableCell(".90 ± .14", 0.9, values=(0.8, 1.0)), TableCell("-", flag="missing")],
        [TableCell("none, or two"), TableCell("-"), TableCell("yes")],
    ]
    lines = csv_text(Table("c", ["prompt", "accuracy", "prompt"], rows)).splitlines()
    assert lines == [
        "prompt,accuracy,accuracy_sd,accuracy_values,prompt_2,prompt_2_note",
        "task,0.9,0.14142135623730948,0.8 1.0,-,missing",
        '"none, or two",,,,yes,',
    ]


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    rows = [[TableCell("ü", flag="f"), TableCell("1", 1.0, ("a", "b"), values=(0.5, 1.5))]]
    table = Table("c", ["x", "y"], rows, "t")
    write_table(table, tmp_path / "deep" / "t.json")
    assert read_table(tmp_path / "deep" / "t.json") == table
