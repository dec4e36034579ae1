"""Errors of the machine are told from errors of the code."""

import errno
import logging
import os
import sqlite3
from pathlib import Path

import pytest

from fused_clip.runner.log_file import LogFile
from fused_clip.support.command import one_line_errors
from fused_clip.support.errors import InputError
from fused_clip.support.machine import explain


def caught(error: Exception, cause: Exception | None = None) -> Exception:
    """An error as it is raised, with what caused it."""
    try:
        raise error from cause
    except type(error) as raised:
        return raised


FULL = OSError(errno.ENOSPC, "No space left on device", "/disk/file")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FULL, "/disk/file: no space left on device. Free space, or choose another folder. Kept"),
        (caught(RuntimeError("a library's own words"), FULL), "/disk/file: no space left on device. Free"),
        (OSError(errno.EIO, "Input/output error"), "/place: input/output error. Check the disk. Kept"),
        (OSError("7 requested and 3 written"), "/place: 7 requested and 3 written"),
        (sqlite3.OperationalError("disk I/O error"), "/place: the database can't be used (disk I/O error)"),
        (ImportError("x.so: cannot read file data", name="x"), "x: a library can't be imported"),
        (caught(MemoryError()), "memory: there is not enough for "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory: there is not enough"),
        (RuntimeError("can't start new thread"), "memory: there is not enough for this (can't start"),
        (InputError("seed", "is wrong"), "seed: is wrong"),
    ],
    ids=str,
)
def test_an_error_of_the_machine_is_a_line(error: Exception, line: str) -> None:
    explained = explain(error, Path("/place"), "Kept")
    assert str(explained).startswith(line)
    assert len(str(explained).splitlines()) == 1


def while_handling(error: Exception, first: Exception) -> Exception:
    try:
        try:
            raise first
        except OSError:
            raise error  # noqa: B904  # the point
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        while_handling(AttributeError("x"), FULL),
        ImportError("cannot import name 'x'", name="fused_clip.x"),
    ],
    ids=str,
)
def test_an_error_of_the_code_is_not_explained(error: Exception) -> None:
    assert explain(error) is None


def test_the_file_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Bad file descriptor") as failed:
        _read_what_is_not_open_for_that(tmp_path / "file")
    assert str(explain(failed.value)).startswith(f"{tmp_path / 'file'}: bad file descriptor")


def _read_what_is_not_open_for_that(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        os.preadv(file.fileno(), [bytearray(1)], 0)


def test_a_command_ends_with_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors("Go on.", "Kept"):  # noqa: PT012
        print("a result")
        raise FULL
    line = "Error: /disk/file: no space left on device. Free space, or choose another folder. Kept"
    assert ended.value.code == line
    assert capsys.readouterr().out == "a result\n"


def test_a_command_shows_where_its_code_is_wrong() -> None:
    with pytest.raises(ZeroDivisionError), one_line_errors("Go on."):
        raise ZeroDivisionError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_file_without_room_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogFile("/dev/full")
    for _ in range(2):
        handler.emit(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err == "/dev/full lacks lines: [Errno 28] No space left on device\n"
    os.dup2(os.open(os.devnull, os.O_WRONLY), handler.stream.fileno())  # its end would try again
    handler.close()
