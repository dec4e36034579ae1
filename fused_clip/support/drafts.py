"""Half-written files: names that no two writers share, and removal once their writer is gone."""

import glob
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

DRAFT = r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.draft"  # machine and process of the writer
_OF_A_WRITER = re.compile(rf".*{DRAFT}", re.DOTALL)
_LONGEST = 40  # characters of the file's name in that of its draft: systems take 255 bytes
_OLD = 86_400.0  # seconds; clocks of machines differ by less


def draft_of(path: Path) -> Path:
    """Name a draft of a file, in its folder, as no other process, thread or machine names one.

    Parameters
    ----------
    path : the file.
    """
    return path.with_name(f"{path.name[:_LONGEST]}.{_machine()}-{os.getpid()}-{uuid4().hex[:12]}.draft")


def remove_drafts(folder: Path, name: str = "") -> None:
    """Remove drafts whose writer is gone, as far as that is permitted.

    Parameters
    ----------
    folder : of the drafts.
    name : of the file that they are drafts of; empty for any.
    """
    for draft in left_behind(folder, name):
        with suppress(OSError):
            draft.unlink()


def left_behind(folder: Path, name: str = "") -> Iterator[Path]:
    """List the drafts of processes of this machine that have ended, and all that are older than a day.

    Parameters
    ----------
    folder, name : as for `remove_drafts`.
    """
    for draft in folder.glob(f"{glob.escape(name[:_LONGEST])}*.draft"):
        writer = _OF_A_WRITER.fullmatch(draft.name)
        with suppress(OSError):  # it has taken its place meanwhile
            if writer and (_is_gone(*writer.groups()) or time.time() - draft.lstat().st_mtime > _OLD):
                yield draft


def _is_gone(machine: str, pid: str) -> bool:
    if machine != _machine():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _machine() -> str:
    """Hash of what process ids are counted in: the host since its start, and the container."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
