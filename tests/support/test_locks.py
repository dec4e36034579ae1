"""Locks between processes and machines: with flock, and as leases where there is none."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fused_clip.support import locks
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked
from fused_clip.support.mounts import Mount
from tests.attack.scale import needs_strace
from tests.forks import ROOT

LEASE = 1.5  # seconds, here
# Holds a lock until its input ends, and says when it has it.
HOLDER = f"""
import sys
from pathlib import Path
from fused_clip.support import locks
from fused_clip.support.files import locked
locks._LEASE, locks._LOOK = {LEASE}, 0.05
with locked(Path(sys.argv[1]), wait=len(sys.argv) < 3) as mine:
    print("held" if mine else "not free", *sorted(path.name for path in Path(sys.argv[1]).parent.iterdir()))
    sys.stdout.flush()
    sys.stdin.read()
"""
NO_FLOCK = "import fcntl, errno\ndef flock(*_): raise OSError(errno.{}, 'no locks')\nfcntl.flock = flock\n"
needs_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or os.geteuid() != 0, reason="needs root and unshare"
)


class Holders:
    """Processes that hold a lock, gone after the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[subprocess.Popen[str]] = []

    def start(self, *before: str, script: str = NO_FLOCK.format("ENOLCK"), wait: bool = True) -> str:
        """Start one; what it says once it has the lock, or has not got it."""
        words = [*before, sys.executable, "-c", script + HOLDER, str(self.path), *([] if wait else ["now"])]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.all.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def end(self) -> None:
        for process in self.all:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Holders]:
    made = Holders(tmp_path / "shared" / "a.lock")
    yield made
    made.end()


@pytest.fixture
def leased(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is on a file system whose locks other machines don't see; leases are short."""
    monkeypatch.setattr(locks, "mount_of", lambda _: Mount("nfs", frozenset({"nolock"})))
    monkeypatch.setattr(locks, "_LEASE", LEASE)
    monkeypatch.setattr(locks, "_LOOK", 0.05)


def is_free(path: Path) -> bool:
    with locked(path, wait=False) as mine:
        return mine


def seconds_to_take(path: Path) -> float:
    start = time.monotonic()
    with locked(path) as mine:
        assert mine
    return time.monotonic() - start


def test_flock_is_used_where_it_works(holders: Holders) -> None:
    assert holders.start(script="") == "held a.lock"
    assert not is_free(holders.path)
    holders.end()
    assert is_free(holders.path)


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_without_flock_a_lease_is_taken(
    code: str, holders: Holders, leased: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert holders.start(script=NO_FLOCK.format(code)) == "held a.lock a.lock.lease"
    assert holders.start(script=NO_FLOCK.format(code), wait=False) == "not free a.lock a.lock.lease"
    assert not is_free(holders.path)
    threading.Timer(0.5, holders.end).start()
    assert seconds_to_take(holders.path) > 0.3
    assert [record.getMessage() for record in caplog.records] == [
        f"{holders.path}: waiting for another process that computes it"
    ]
    assert [path.name for path in holders.path.parent.iterdir()] == ["a.lock"]


def test_another_error_of_flock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(InputError, match=r"writable folder with free space .Input/output error"):
        is_free(tmp_path / "a.lock")


@needs_strace
@pytest.mark.slow
def test_a_kernel_without_flock_gets_a_lease(holders: Holders, leased: None) -> None:
    before = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=flock",
        "-e",
        "inject=flock:error=ENOLCK",
    ]
    assert holders.start(*before, script="") == "held a.lock a.lock.lease"
    assert not is_free(holders.path)


def test_a_lease_of_a_killed_process_of_this_machine_ends_with_it(holders: Holders, leased: None) -> None:
    assert holders.start().startswith("held")
    holders.all[0].kill()
    holders.all[0].wait()
    assert seconds_to_take(holders.path) < LEASE / 2


ELSEWHERE = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
ELSEWHERE += ['hostname elsewhere; exec "$0" "$@"']


@needs_namespaces
@pytest.mark.slow
def test_a_lease_of_another_machine_holds_while_it_is_renewed_and_ends_if_it_is_not(
    holders: Holders, leased: None
) -> None:
    assert holders.start(*ELSEWHERE).startswith("held")
    # Its input stays open: at the end of that it would release.
    threading.Timer(3 * LEASE, holders.all[0].kill).start()
    assert 3 * LEASE + 0.3 < seconds_to_take(holders.path) < 5 * LEASE + 3


@needs_namespaces
@pytest.mark.slow
@pytest.mark.parametrize("shift", [-86_400, 3_600])
def test_clocks_of_machines_may_differ(shift: float, holders: Holders, leased: None) -> None:
    assert holders.start(*ELSEWHERE).startswith("held")
    holders.all[0].kill()
    holders.all[0].wait()
    marker = holders.path.with_name("a.lock.lease")
    os.utime(marker, times=(time.time() + shift, time.time() + shift))
    assert LEASE - 0.1 < seconds_to_take(holders.path) < 2 * LEASE + 1


@pytest.mark.slow
def test_a_holder_that_was_stopped_takes_nothing_from_the_next(holders: Holders, leased: None) -> None:
    """The processes say that they are on several machines: none may look for the other by its number."""
    script = NO_FLOCK.format("ENOLCK") + "import socket\nsocket.gethostname = lambda: 'elsewhere'\n"
    assert holders.start(script=script).startswith("held")
    holders.all[0].send_signal(signal.SIGSTOP)
    assert seconds_to_take(holders.path) > LEASE - 0.1
    with locked(holders.path):
        holders.all[0].send_signal(signal.SIGCONT)
        holders.all[0].communicate("", timeout=30)  # its end releases what it no longer has
        assert holders.all[0].returncode == 0
        assert holders.start(wait=False).startswith("not free")


def test_a_thread_waits_for_another(tmp_path: Path, leased: None) -> None:
    path = tmp_path / "a.lock"
    with locked(path):
        thread = threading.Thread(target=seconds_to_take, args=[path])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
