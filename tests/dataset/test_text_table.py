from pathlib import Path

import pytest

from fused_clip.dataset.text_table import text_rows
from fused_clip.support.errors import InputError

WANTED = {"names": "name", "paths": "path"}


def read(folder: Path, text: str, suffix: str = ".csv") -> list[list[str]]:
    file = folder / f"table{suffix}"
    file.write_bytes(text.encode())
    return list(text_rows("file", file, WANTED))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n"])
def test_the_first_line_says_the_separator(tmp_path, mark, end, start):
    lines = [
        f"path{mark}note{mark}name",
        f'a.png{mark}"x{mark}y"{mark}cat',
        "",
        f"b.png{mark}1,5;6{mark} dog",
    ]
    if mark in ",;":
        lines[3] = f"b.png{mark}{mark} dog"
    assert read(tmp_path, start + end.join(lines) + end) == [["cat", "a.png"], ["dog", "b.png"]]


def test_marks_in_quotes_do_not_count(tmp_path):
    assert read(tmp_path, '"a;b;c;d",path,name\n1,x.png,cat\n') == [["cat", "x.png"]]


def test_one_column_needs_no_separator(tmp_path):
    (tmp_path / "one.csv").write_text("path\na b.png\n")
    assert list(text_rows("file", tmp_path / "one.csv", {"paths": "path"})) == [["a b.png"]]


def test_a_tsv_file_has_tabs(tmp_path):
    assert read(tmp_path, "path\tname,x,y\tname\n1\t2\t3\n", ".tsv") == [["3", "1"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path;kind\n",
            r"^names: must be a column of the data, read with semicolons as separators, got 'name'",
        ),
        ("path\tkind\n", "read with tabs as separators"),
        ("", "read with commas as separators, got 'name'; choose from: \\(none\\)"),
        (
            "path;name\na;b;c\n",
            r"^file: must have 2 values .* not so in line 2, got 'a;b;c'.* that contain semicolons",
        ),
        ("path,name,name\na,b,c\n", r"^names: must be one column .* and 2 have that name, got 'name'"),
        ('path,name\n"a,b\n', "must be a readable table in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
