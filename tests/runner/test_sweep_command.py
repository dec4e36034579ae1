"""The command that looks after a sweep: what it says of bad input."""

import json
from pathlib import Path

import pytest

from fused_clip.engine.submissions import write_submitted
from fused_clip.runner import sweep_command
from fused_clip.runner.outcomes import record
from fused_clip.runner.shares import SharedSweep
from fused_clip.support.checksums import sealed
from tests import fake_slurm


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sweep of four cells in two shares."""
    sweep = SharedSweep(
        words=["seed=range(4)"], argv=[], hydra=[], folders=[], name="config", cwd=str(tmp_path), clock=[],
        parent="", sweep_id="", started=0.0, cells=[[f"seed={seed}"] for seed in range(4)], bounds=[0, 2, 4],
    )  # fmt: skip
    (tmp_path / "cells.json").write_text(json.dumps(sealed(sweep.model_dump(mode="json"))))
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        sweep_command.main(words)
    return str(stopped.value.code)


def test_other_directories_are_refused(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = complaint(capsys, "status", str(tmp_path / "absent"))
    assert absent.startswith(
        "Error: directory: must be the directory of a sweep that ran in shares: it has no cells"
    )
    mine = complaint(capsys, "status", str(directory))
    assert mine == (
        "Error: directory: must be the directory of a sweep that was submitted to Slurm, "
        f"got {str(directory)!r}"
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("minute=5", "must set an option of the array, got 'minute=5'; choose from: account, at_once"),
        ("minutes", "must set an option of the array, got 'minutes'"),
        ("setup=[a", "setup: must be YAML, got '[a'"),
        ("minutes=-5", "hydra.launcher.minutes: must be greater than or equal to 1, got -5"),
    ],
)
def test_options_that_are_none_are_refused(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
    message: str,
) -> None:
    monkeypatch.setenv("PATH", fake_slurm.path_with(fake_slurm.install(directory / "bin")))
    (directory / "slurm").mkdir()
    write_submitted(directory / "slurm", {1: "10_0", 2: "10_1"}, {})
    assert message in complaint(capsys, "resubmit", str(directory), word)


def test_status_counts_cells_by_their_state(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = fake_slurm.install(directory / "bin")
    monkeypatch.setenv("PATH", fake_slurm.path_with(slurm))
    (directory / "slurm").mkdir()
    write_submitted(directory / "slurm", {1: "10_0", 2: "10_1"}, {})
    for cell in range(3):
        (directory / str(cell)).mkdir()
    record(directory / "0", ["seed=0"], metrics={"test/accuracy": 0.5})
    record(directory / "1", ["seed=1"], error="it broke")
    (directory / "slurm" / "10_0_0_log.err").touch()
    (slurm / "queue").write_text("10_1 RUNNING\n")
    assert sweep_command.main(["status", str(directory)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 cells in 2 shares: 1 finished, 1 running, 1 pending, 1 failed, 0 missing",
        f"share    1          10_0  ended       1 finished, 1 failed  log: {directory}/slurm/10_0_0_log.err",
        "share    2          10_1  running     1 running, 1 pending",
    ]
    (slurm / "queue").write_text("")
    sweep_command.main(["status", str(directory)])
    assert "0 running, 0 pending, 1 failed, 2 missing" in capsys.readouterr().out


def test_slurm_that_does_not_answer_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = fake_slurm.install(directory / "bin")
    monkeypatch.setenv("PATH", fake_slurm.path_with(slurm))
    (directory / "slurm").mkdir()
    write_submitted(directory / "slurm", {1: "10_0", 2: "10_1"}, {})
    (slurm / "down").touch()
    for command in ("status", "collect", "resubmit"):
        assert complaint(capsys, command, str(directory)).startswith(
            "Error: Slurm: does not answer (squeue: Unable"
        )
