"""Memory that this process may still take."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from fused_clip.support.errors import InputError

_LIBRARIES = 1_000_000_000  # bytes of address space that a run needs at least, measured without PyTorch
# Of each thread: its stack, its arena of malloc, and a buffer in both OpenBLAS libraries, without which these
# would try for ever.
_THREAD = (8 + 64 + 2 * 32) << 20
_MOUNT, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Of a control group, versions 2 and 1: its limit, its use, and the part of that which can be taken back.
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control groups, and of its own limit."""
    machine = psutil.virtual_memory().available + psutil.swap_memory().free
    return max(0, min([machine, *_of_groups(), *_of_process()]))


def thread_bytes(threads: int) -> int:
    """Bytes that threads will map, which count if this process has a limit of address space; else 0.

    Parameters
    ----------
    threads : that will run besides the first.
    """
    return _THREAD * threads if any(True for _ in _of_process()) else 0


def check_fits(what: str, need: int, hint: str) -> None:
    """Refuse to read what there is no memory for.

    Parameters
    ----------
    what : to be read, as the subject of a sentence in the plural.
    need : bytes.
    hint : what to do instead.

    Raises
    ------
    InputError
        If fewer bytes are free.
    """
    free = available_memory()
    if need > free:
        rule = f"{what} take at least {size(need)}, and {size(free)} are free"
        raise InputError("memory", rule, hint=hint)


def check_libraries() -> None:
    """Refuse a limit of address space in which the libraries can't be loaded: OpenBLAS would try for ever."""
    free = min(_of_process(), default=_LIBRARIES)
    if free < _LIBRARIES and "scipy.special" not in sys.modules:
        rule = f"the libraries take about {size(_LIBRARIES)} of address space, and {size(free)} are free"
        raise InputError("memory", rule, hint="Raise the limit (ulimit -v)")


def size(count: float) -> str:
    """Format bytes in MB, GB or TB.

    Parameters
    ----------
    count : bytes.
    """
    if count >= 1e12:
        return f"{count / 1e12:.1f} TB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _of_process() -> Iterator[int]:
    """What RLIMIT_AS leaves, where the system has such a limit."""
    process = psutil.Process()
    if hasattr(process, "rlimit"):
        limit = process.rlimit(psutil.RLIMIT_AS)[0]
        if limit != psutil.RLIM_INFINITY:
            yield limit - process.memory_info().vms


def _of_groups() -> Iterator[int]:
    """What each control group of this process leaves; those without a limit give a very large number."""
    for folder in _groups():
        for limit, used, reclaimable in _FILES:
            try:
                most = (folder / limit).read_text().strip()
                if most == "max":
                    continue
                facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield int(most) - int((folder / used).read_text()) + int(facts.get(reclaimable, 0))
            except (OSError, ValueError):  # of the other version, or out of sight in a container
                continue


def _groups() -> Iterator[Path]:
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            place = Path(os.path.normpath(f"{_MOUNT / controllers}/{name}"))
            yield from (place, *place.parents)
