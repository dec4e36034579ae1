import json
from pathlib import Path

import pytest

from experiments import docs
from fused_clip.method.reference import known_references
from fused_clip.report import Table, TableCell
from fused_clip.report.writer import write_table
from fused_clip.support.errors import InputError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A document in a study's folder, beside its results, and one at the root."""
    study = tmp_path / "experiments" / "study"
    rows = [[TableCell("task"), TableCell(".84 ± .01", 0.84, ("r1",), "corrected")]]
    write_table(Table("A caption.", ["prompt", "accuracy"], rows), study / "results" / "t.json")
    (study / "results" / "speed.csv").write_text("n,method\n10,a|b\n200,c\n")
    (study / "results" / "part.md").write_text("# Title\n\n| a |\n|---|\n\n")
    (study / "README.md").write_text(
        "# Study\n\n<!-- report:results/t.json -->\nold\n\n<!-- /report -->\n\nbetween\n\n"
        "<!-- report:results/speed.csv -->\n<!-- /report -->\n"
        "<!-- report:results/part.md -->\n<!-- /report -->\nend\n"
    )
    (tmp_path / "README.md").write_text("no table; `<!-- report:x -->` is only named\n")
    return tmp_path


WRITTEN = """# Study

<!-- report:results/t.json -->

A caption.

| prompt |                accuracy |
| ------ | ----------------------: |
| task   | .84 ± .01 *(corrected)* |

<!-- /report -->

between

<!-- report:results/speed.csv -->

|   n | method |
| --: | ------ |
|  10 | a\\|b   |
| 200 | c      |

<!-- /report -->
<!-- report:results/part.md -->

| a |
|---|

<!-- /report -->
end
"""


def test_tables_are_written_from_their_files_once(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = repository / "experiments" / "study" / "README.md"
    assert docs.main(["--check"], repository) == 1
    assert capsys.readouterr().out == "experiments/study/README.md: its tables differ: make docs\n"
    assert "old" in readme.read_text()
    assert docs.main([], repository) == 0
    assert readme.read_text() == WRITTEN
    assert capsys.readouterr().out == "experiments/study/README.md: written\n"
    assert docs.main(["--check"], repository) == 0
    assert capsys.readouterr().out == ""


def test_a_table_that_was_edited_by_hand_is_told(repository: Path) -> None:
    docs.main([], repository)
    readme = repository / "experiments" / "study" / "README.md"
    readme.write_text(readme.read_text().replace(".84", ".94"))
    assert docs.main(["--check"], repository) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- report:none.json -->\n<!-- /report -->\n",
            "names a result file that is not there, got 'none.json'",
        ),
        ("<!-- report:README.md -->\n", "needs a line <!-- /report --> after"),
        (
            "<!-- report:README.md -->\n<!-- report:README.md -->\n<!-- /report -->\n",
            "needs a line <!-- /report -->",
        ),
        ("<!-- report:x.png -->\n<!-- /report -->\n", "takes .json, .csv or .md, got 'x.png'"),
    ],
)
def test_a_marker_that_can_not_be_followed_is_told(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "x.png").write_text("")
    with pytest.raises(InputError) as caught:
        docs.updated(tmp_path / "README.md")
    assert message in str(caught.value)
    assert docs.main([], tmp_path) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == text


def test_the_table_of_references_comes_from_their_yaml_files(tmp_path: Path) -> None:
    document = tmp_path / "metrics.md"
    document.write_text("<!-- references -->\n<!-- /references -->\nend\n")
    text = docs.updated(document)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert text.startswith("<!-- references -->\n\n| reference ")
    assert ["reference", "title", "explanation", "uses labels"] in cells
    assert text.endswith("|\n\n<!-- /references -->\nend\n")
    for facts in known_references().values():
        assert [f"`{facts.name}`", facts.title, facts.explanation, facts.uses_labels] in cells


LINKED = """[the study](experiments/study/README.md#commands) ![curve](experiments/study/gone.png "A curve")
[`code`](gone.py) [site](https://example.org/gone) [below](#below) [spaces](a%20b.md) [mail](mailto:a@b.org)

`[no](link.md)` and ``[no `link`](either.md)``

```
[nor](this.md)
```

[last](experiments/none/)
"""


def test_links_and_images_that_lead_nowhere_are_told(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "README.md").write_text(LINKED)
    (repository / "a b.md").write_text("[back](experiments/../README.md)\n")
    assert docs.main([], repository) == 0
    capsys.readouterr()
    assert docs.main(["--check"], repository) == 1
    gone = ("experiments/study/gone.png", "gone.py", "experiments/none/")
    expected = [f"README.md: links to {name}, which is not there" for name in gone]
    assert capsys.readouterr().out.splitlines() == expected


def test_the_newest_machine_is_shown_where_benchmarks_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "experiments" / "benchmarks"
    (study / "results").mkdir(parents=True)
    (study / "README.md").write_text("<!-- benchmarks -->\nold\n<!-- /benchmarks -->\n")
    assert docs.main([], tmp_path) == 1
    assert "benchmarks: needs the results of a machine in" in capsys.readouterr().err
    run = dict.fromkeys(("seconds", "cpu_seconds", "peak_gb", "start_gb", "load"), 1.0)
    run |= {"task": "a", "method": "b", "size": 1, "commit": "c"}
    for name, date in (("new", "2026-02-01"), ("old", "2026-01-01")):
        content = {"environment": {"processor": name, "cores": 2}, "runs": [run | {"date": date}]}
        (study / "results" / f"{name}.json").write_text(json.dumps(content))
        (study / "results" / f"{name}.md").write_text(f"# Machine\n\ntables of {name}\n")
    assert docs.main([], tmp_path) == 0
    text = (study / "README.md").read_text()
    assert "](results/new.png)\n\ntables of new\n" in text
    assert "old, 2 cores, measured 2026-01-01: [tables](results/old.md)" in text


def test_the_documents_say_what_their_result_files_say_and_link_to_what_is_there() -> None:
    assert docs.main(["--check"]) == 0


def test_all_options_are_listed_with_type_default_and_description(tmp_path: Path) -> None:
    (tmp_path / "options.md").write_text("# Options\n\n<!-- options -->\n<!-- /options -->\n")
    lines = docs.updated(tmp_path / "options.md").splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines if line.startswith("| `")]
    rows = {first: rest for first, *rest in cells}
    assert rows["`dataset.seed`"] == ["whole number ≥ 0, < 4294967296", "`0`", "draws subsets and splits"]
    assert rows["`dataset.from_split`"][:2] == ["`test` or `null`", "`null`"]
    assert rows["`dataset.name`"][:2] == ["text", "set by the choice"]
    assert rows["`dataset.captions.task`"][:2] == ["text", "`This is a {}`"]
    assert rows["`prompt.texts`"][0] == "mapping of text to text or list of text or `null`"
    assert rows["`dataset=csv`"][1].startswith("`test_path`, `split_column`")
    assert "`vote`" in rows
    assert "`_target_`" not in rows


def test_the_options_marker_needs_its_end(tmp_path: Path) -> None:
    (tmp_path / "options.md").write_text("<!-- options -->\n")
    with pytest.raises(InputError, match="needs a line <!-- /options --> after"):
        docs.updated(tmp_path / "options.md")
