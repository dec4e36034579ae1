"""The note on what was submitted."""

from pathlib import Path

import pytest

from fused_clip import InputError
from fused_clip.engine import slurm_queue
from fused_clip.engine.submissions import SUBMITTED, arrays_of, state_of, submitted, write_submitted


def test_a_damaged_note_is_refused(tmp_path: Path) -> None:
    write_submitted(tmp_path, {1: "9_0", 2: "10"}, {"minutes": 5})
    assert arrays_of(tmp_path) == ["9", "10"]
    path = tmp_path / SUBMITTED
    path.write_text(path.read_text().replace("9_0", "8_0"))
    with pytest.raises(
        InputError, match=r"directory: is damaged: submitted.json \(it differs from its checksum\)"
    ):
        submitted(tmp_path)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("PENDING", "pending"),
        ("REQUEUED", "pending"),
        ("RUNNING", "running"),
        ("CONFIGURING", "running"),
        ("COMPLETING", "running"),
        ("SUSPENDED", "running"),
        ("TIMEOUT", "gone"),
        ("CANCELLED", "gone"),
        ("", "gone"),
    ],
)
def test_each_state_of_slurm_is_one_of_three(said: str, state: str) -> None:
    assert state_of(said) == state


def test_nothing_is_asked_about_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert slurm_queue.states([]) == {}
    with pytest.raises(
        InputError, match=r"Slurm: must be on this machine \(squeue: No such file or directory\)"
    ):
        slurm_queue.states(["1"])


def test_jobs_that_slurm_has_forgotten_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert slurm_queue.states(["1"]) == {}


def test_a_command_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm_queue, "_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"Slurm: does not answer: squeue took more than 0 s"):
        slurm_queue.states(["1"])
