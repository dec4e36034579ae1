"""Odd places to run in, made in the fork of a command before it starts."""

import ctypes
import errno
import locale
import os
import pwd
import sys
import time
from pathlib import Path
from typing import Any

_VERSION_3 = 0x20080522
_CAPSET = 126  # system call of x86-64 and, below, of arm64
_CAPSET_ARM = 91


def obey_modes() -> None:
    """Take from root the right to pass over the modes of files, so that it is like another user."""
    if os.geteuid():
        return
    number = _CAPSET_ARM if os.uname().machine == "aarch64" else _CAPSET
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # no capability
    if ctypes.CDLL(None, use_errno=True).syscall(number, header, data):
        raise OSError(ctypes.get_errno(), "capset")


def without_home() -> None:
    """Be a user whom no list of users has, without HOME."""
    os.environ.pop("HOME", None)

    def unknown(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    pwd.getpwuid = unknown
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)


def set_clock_back(seconds: float, after: int) -> None:
    """Set the clock back once, after some readings."""
    real, readings = time.time, 0

    def read() -> float:
        nonlocal readings
        readings += 1
        return real() - (seconds if readings > after else 0)

    time.time = read


def speak(name: str) -> None:
    """Take a locale if the system has it, and print in ASCII alone."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="strict")  # type: ignore[union-attr]
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        locale.setlocale(locale.LC_ALL, "C")


def without_shared_memory() -> None:
    """Have no /dev/shm, in a name space of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, private, None):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    while not libc.umount2(b"/dev/shm", 2):  # MNT_DETACH, of all that are mounted there
        pass
    if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 1, b"size=4k"):  # MS_RDONLY
        raise OSError(ctypes.get_errno(), "mount")


def can_unshare() -> bool:
    """Whether this process may have name spaces of its own."""
    pid = os.fork()
    if not pid:
        try:
            without_shared_memory()
            (Path("/dev/shm") / "probe").write_bytes(b"1")
        except OSError as error:
            os._exit(0 if error.errno == errno.EROFS else 1)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
