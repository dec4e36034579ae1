"""Errors of the machine rather than of the code, in one line: files, databases, libraries, memory."""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from fused_clip.support.errors import InputError
from fused_clip.support.memory import available_memory, size

_NEXT_STEPS = {
    errno.ENOSPC: "Free space, or choose another folder",
    errno.EDQUOT: "Free space, or choose another folder",
    errno.EACCES: "Check the owner and the permissions",
    errno.EPERM: "Check the owner and the permissions",
    errno.EROFS: "Choose a folder that can be written",
    errno.EIO: "Check the disk",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.ENFILE: "Raise the limit of open files (ulimit -n)",
}
_NO_MEMORY = re.compile(
    r"can(no|')t allocate memory|unable to allocate|bad_alloc|out of memory|failed to map segment"
    r"|can't start new thread|unexpectedly terminated",
    re.IGNORECASE,
)
_LESS_MEMORY = (
    "Close other programs or raise the limit (ulimit -v, the container's), or use fewer rows "
    "(dataset.n_train), a smaller backbone.batch_size, or clusterer=kmeans"
)
KEPT = "Finished work is kept: run the same command again"
# What a slip in the code raises: the error that was being handled when it happened explains nothing.
_SLIPS = (AssertionError, AttributeError, LookupError, NameError, TypeError)


def explain(error: BaseException, place: Path | None = None, kept: str = "") -> InputError | None:
    """Explain an error that the machine caused; None for one of the code, which needs its traceback.

    The cause may be hidden behind errors of libraries.

    Parameters
    ----------
    error : an `InputError` is returned as it is.
    place : folder in use, for an error that names no file.
    kept : added to the next step: the files that are kept, and how to go on.
    """
    if isinstance(error, InputError):
        return error
    for cause in _causes(error):
        found = _explained(cause, place)
        if found:
            option, rule, step = found
            return InputError(option, rule, hint=". ".join(filter(None, [step, kept])))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        around = None if error.__suppress_context__ or isinstance(error, _SLIPS) else error.__context__
        error = error.__cause__ or around


def _explained(error: BaseException, place: Path | None) -> tuple[str, str, str] | None:
    """Option, rule and next step of an error by itself."""
    text = " ".join(str(error).split())
    if (
        isinstance(error, MemoryError)
        or getattr(error, "errno", 0) == errno.ENOMEM
        or _NO_MEMORY.search(text)
    ):
        free = f"{size(available_memory())} are free"
        return (
            "memory",
            f"there is not enough for {_working(error)} ({text or 'MemoryError'}); {free}",
            _LESS_MEMORY,
        )
    if isinstance(error, OSError) and (error.errno is not None or type(error) is OSError):
        file = error.filename if isinstance(error.filename, str | os.PathLike) else None
        where = file or _file_in_use(error.__traceback__) or place or "a file"
        reason = error.strerror or text
        return os.fspath(where), f"{reason[:1].lower()}{reason[1:]}", _NEXT_STEPS.get(error.errno or 0, "")
    if isinstance(error, sqlite3.Error):
        return str(place or "the database"), f"the database can't be used ({text})", ""
    if isinstance(error, ImportError) and not (error.name or "").startswith("fused_clip"):
        return (
            error.path or error.name or "import",
            f"a library can't be imported ({text})",
            "Install it again",
        )
    return None


def _frames(traceback: TracebackType | None) -> list[TracebackType]:
    """Innermost first."""
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found[::-1]


def _file_in_use(traceback: TracebackType | None) -> str | None:
    """Name of the file that the failing function had open: reads and writes do not name theirs."""
    for entry in _frames(traceback):
        for value in entry.tb_frame.f_locals.values():
            name = getattr(value, "name", None) if hasattr(value, "fileno") else None
            if isinstance(name, str) and os.path.isabs(name):
                return name
    return None


def _working(error: BaseException) -> str:
    """Function that failed."""
    for entry in _frames(error.__traceback__):
        module = entry.tb_frame.f_globals.get("__name__", "")
        return f"{module}.{entry.tb_frame.f_code.co_name}"
    return "this"
