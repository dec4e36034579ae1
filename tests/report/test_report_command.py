import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fused_clip.report import Page, RunRecord
from fused_clip.report import report_command as command
from fused_clip.runner.targets import locate
from fused_clip.support import named_parts, plugins
from fused_clip.support.conf import conf_dir
from fused_clip.support.errors import InputError
from tests.records import make_record, missing_record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "report: needs either --study NAME or --sweep ID"),
        (["--study", "a", "--sweep", "b"], "report: needs either --study NAME or --sweep ID"),
        (["--study="], "report: needs either --study NAME or --sweep ID"),
        (["a"], "report: takes options such as --study NAME, got 'a'"),
        (
            ["study=my study"],
            "report: takes options such as --study NAME, got 'study=my study'. Write --study",
        ),
        (["--study", "a", "tracking.uri=x"], "got 'tracking.uri=x'. Write --tracking-uri x"),
        (["--study", "a", "tracking.experiment=x"], "got 'tracking.experiment=x'. Write --experiment x"),
        (["--study", "a", "output_dir=x=y"], "got 'output_dir=x=y'. Write --output-dir x=y"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_1(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert message in str(ended.value)
    assert "\n" not in str(ended.value)


def test_an_unknown_option_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--stduy", "a"])
    assert "unrecognized arguments: --stduy" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "words"), [("--help", "--study NAME"), ("--version", "fused_clip")])
def test_help_and_version_need_no_study(option: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main([option])
    assert words in capsys.readouterr().out


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "open_runs", interrupted)
    with pytest.raises(SystemExit, match="130"):
        command.main(["--study", "a"])
    assert capsys.readouterr().err.splitlines() == [
        "Stopped. Files of an earlier report are kept: run the same command again."
    ]


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
    assert command.main(["--study", "s", "--output-dir", str(tmp_path)]) == 0
    out = tmp_path / "reports" / "s"
    assert capsys.readouterr().out.split() == [str(out / f"report.{kind}") for kind in ("html", "md", "tex")]


@pytest.mark.parametrize("status", ["MISSING", "FAILED", "KILLED", "RUNNING"])
def test_a_study_with_holes_is_made_marked_and_exit_code_1(
    cells: list[RunRecord], tmp_path: Path, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cells += [make_record(), missing_record("none", 0, status)]
    assert command.main(["--study", "s", "--out", str(tmp_path)]) == 1
    assert "1 of 2 cells" in capsys.readouterr().err
    assert "1 of 2 cells" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("cells")
def test_a_sweep_without_cells_is_an_error() -> None:
    with pytest.raises(SystemExit, match="Error: sweep: has no cells, got 'x1'"):
        command.main(["--sweep", "x1"])


def test_a_folder_that_can_not_be_written_is_an_error(cells: list[RunRecord], tmp_path: Path) -> None:
    cells.append(make_record())
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"Error: out: can't be written \(Not a directory\)"):
        command.main(["--study", "s", "--out", str(tmp_path / "file" / "below")])


def own_page(records: Any, *, title: str) -> Page:
    return Page(f"{title} of {len(records)}", [], ["mine"])


def test_a_study_with_a_page_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    text = f"_target_: {own_page.__module__}.own_page\ntitle: Mine\n"
    (tmp_path / "report" / "s.yaml").write_text(text)
    for module in (plugins, named_parts):
        monkeypatch.setattr(module, "conf_dir", lambda: tmp_path)
    page = command.page_of([make_record(), missing_record("none", 0)])
    assert page.title == "Mine of 2"
    assert page.problems[-1] == "mine"
    assert [section.title for section in page.sections] == ["Runs"]
    assert command.page_of([make_record(tags={"study": "other"})]).title == "Study other"


def test_a_page_that_can_not_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "s.yaml").write_text("_target_: no_such.module\n")
    for module in (plugins, named_parts):
        monkeypatch.setattr(module, "conf_dir", lambda: tmp_path)
    with pytest.raises(InputError, match=r"report\._target_: must name something importable"):
        command.page_of([make_record()])


@pytest.mark.parametrize("path", sorted((conf_dir() / "report").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_pages_that_studies_name_are_there(path: Path) -> None:
    assert callable(locate("report", OmegaConf.load(path)["_target_"]))


def test_the_module_is_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fused_clip.report", "--study", "s"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: tracking.uri: there is no tracking database")


def test_a_report_that_fails_leaves_the_earlier_one_whole(
    cells: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.append(make_record())
    assert command.main(["--study", "s", "--out", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    cells.append(make_record())

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command.writer, "csv_text", full)
    with pytest.raises(SystemExit, match=r"Error: out: can't be written \(No space left on device\)"):
        command.main(["--study", "s", "--out", str(tmp_path)])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
