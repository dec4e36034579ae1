"""Readers that break a rule each, on what is no longer whole, to try what watches them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fused_clip.support.errors import InputError
from tests.attack.fuzzing import Reader


def _made(broken: Callable[[bytes], object]) -> list[Reader]:
    return [Reader("reader", [b"whole"], lambda content: None if content == b"whole" else broken(content))]


def raises() -> list[Reader]:
    return _made(lambda content: {}[content])


def takes_long() -> list[Reader]:
    def read(content: bytes) -> None:
        while True:
            pass

    return _made(read)


def takes_memory() -> list[Reader]:
    return _made(lambda content: bytearray(2 << 30))


def writes() -> list[Reader]:
    return _made(lambda content: Path("left").write_bytes(content))


def starts_a_program() -> list[Reader]:
    return _made(lambda content: subprocess.run([sys.executable, "--version"], check=False))


def refuses_all() -> list[Reader]:
    def read(content: bytes) -> None:
        raise InputError("content", "is not read", content)

    return [Reader("reader", [b"whole"], read)]


def crashes() -> list[Reader]:
    return _made(lambda content: os.kill(os.getpid(), signal.SIGSEGV))


def hangs() -> list[Reader]:
    return _made(lambda content: time.sleep(1_000))
