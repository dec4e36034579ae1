import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fused_clip.report import Page, RunRecord, command
from fused_clip.runner.config import locate
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.records import make_record, missing_record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "report: needs either study=NAME or sweep=ID, got ''"),
        (["study=a", "sweep=b"], "report: needs either study=NAME or sweep=ID"),
        (["stduy=a"], "report: takes key=value, got 'stduy=a'; choose from: study=, "),
        (["a"], "report: takes key=value, got 'a'"),
        (["study="], "study: String should have at least 1 character, got ''"),
        (["study=a", "study=b"], "study: is given twice, got 'b'"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 1
    assert f"Error: {message}" in capsys.readouterr().err


def test_values_are_taken_as_they_stand() -> None:
    options = command.parse(["study=a=b", "output_dir=out [1]=x y", "tracking.uri=http://h:1", "out=../r"])
    assert (options.study, options.output_dir, options.uri, options.out) == (
        "a=b",
        "out [1]=x y",
        "http://h:1",
        "../r",
    )


def test_help_needs_no_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    assert "study=NAME" in capsys.readouterr().out


class FakeStore:
    def __init__(self, records: list[RunRecord]) -> None:
        self.records = records

    def study(self, name: str) -> list[RunRecord]:
        return self.records

    sweep = study


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    """What the store gives, to be filled by a test."""
    records: list[RunRecord] = []

    @contextmanager
    def opened(*_: object) -> Iterator[FakeStore]:
        yield FakeStore(records)

    monkeypatch.setattr(command, "open_runs", opened)
    return records


def test_a_whole_study_is_exit_code_0(cells: list[RunRecord], tmp_path: Path, capsys: Any) -> None:
    cells.append(make_record())
    assert command.main(["study=s", f"output_dir={tmp_path}"]) == 0
    out = tmp_path / "reports" / "s"
    assert capsys.readouterr().out.split() == [str(out / f"report.{kind}") for kind in ("html", "md", "tex")]


@pytest.mark.parametrize("status", ["MISSING", "FAILED", "KILLED", "RUNNING"])
def test_a_study_with_holes_is_made_marked_and_exit_code_1(
    cells: list[RunRecord], tmp_path: Path, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cells += [make_record(), missing_record("none", 0, status)]
    assert command.main(["study=s", f"out={tmp_path}"]) == 1
    assert "1 of 2 cells" in capsys.readouterr().err
    assert "1 of 2 cells" in (tmp_path / "report.md").read_text()


def test_a_sweep_without_cells_is_told(cells: list[RunRecord], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["sweep=x1"]) == 1
    assert "Error: sweep: has no cells, got 'x1'" in capsys.readouterr().err


def test_a_place_that_can_not_be_written_is_told(
    cells: list[RunRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells.append(make_record())
    (tmp_path / "file").write_text("")
    assert command.main(["study=s", f"out={tmp_path / 'file' / 'below'}"]) == 1
    assert "Error: out: can't be written (Not a directory)" in capsys.readouterr().err


def own_page(records: Any, *, title: str) -> Page:
    return Page(f"{title} of {len(records)}", [], ["mine"])


def test_a_study_with_a_page_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    text = f"_target_: {own_page.__module__}.own_page\ntitle: Mine\n"
    (tmp_path / "report" / "s.yaml").write_text(text)
    monkeypatch.setattr(command, "conf_dir", lambda: tmp_path)
    page = command.page_of([make_record(), missing_record("none", 0)])
    assert page.title == "Mine of 2"
    assert page.problems[-1] == "mine"
    assert [section.title for section in page.sections] == ["Runs"]
    assert command.page_of([make_record(tags={"study": "other"})]).title == "Study other"


def test_a_page_that_can_not_be_imported_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "s.yaml").write_text("_target_: no_such.module\n")
    monkeypatch.setattr(command, "conf_dir", lambda: tmp_path)
    with pytest.raises(InputError, match=r"report\._target_: must name something importable"):
        command.page_of([make_record()])


@pytest.mark.parametrize("path", sorted((conf_dir() / "report").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_pages_that_studies_name_are_there(path: Path) -> None:
    assert callable(locate("report", OmegaConf.load(path)["_target_"]))


def test_the_module_is_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fused_clip.report", "study=s"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: tracking.uri: there is no tracking database")
