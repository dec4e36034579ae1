"""Whether the process that a run belongs to still lives."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fused_clip.tracking.process import is_gone, this_process


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits to be told to end, and its name."""
    code = "from fused_clip.tracking.process import this_process as name; print(name(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process, process.stdout.readline()
        process.kill()


def changed(name: str, **facts: object) -> str:
    return json.dumps({**json.loads(name), **facts})


def test_this_process_lives() -> None:
    assert json.loads(this_process())["pid"] == os.getpid()
    assert not is_gone(this_process())


def test_a_killed_process_is_gone(other: tuple[subprocess.Popen[str], str]) -> None:
    process, name = other
    assert not is_gone(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(name), "though its parent has not asked for its end yet"
    process.wait()
    assert is_gone(name)


def test_another_process_with_the_same_number_does_not_stand_for_it() -> None:
    assert is_gone(changed(this_process(), started=-1.0))


def test_a_machine_that_was_started_anew_has_none_of_its_old_processes() -> None:
    assert is_gone(changed(this_process(), booted=0.0))


def test_a_clock_that_is_set_ends_no_process() -> None:
    booted = json.loads(this_process())["booted"]
    assert not is_gone(changed(this_process(), booted=booted - 3600))


@pytest.mark.parametrize(
    "facts", [{"host": "elsewhere"}, {"host": "elsewhere", "booted": 0.0}, {"namespace": "pid:[1]"}]
)
def test_nothing_is_known_of_processes_elsewhere(facts: dict[str, str]) -> None:
    assert not is_gone(changed(this_process(), pid=2**22 + 1, **facts))


@pytest.mark.parametrize("name", ["", "{", "[]", '{"pid": 1}', "1234"])
def test_nothing_is_known_of_a_name_that_can_not_be_read(name: str) -> None:
    assert not is_gone(name)
