"""Counts of attacks before a release, in ``counts.csv``."""

import csv
import os
import platform
from datetime import date
from pathlib import Path

from filelock import FileLock

FILE = Path(__file__).with_name("counts.csv")
_COLUMNS = ("attack", "counts", "date", "machine")


def record(name: str, **counts: int | float | str) -> None:
    """Replace the row of an attack.

    Parameters
    ----------
    name : of the attack.
    counts : by name, in words parted by ``_``.
    """
    listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items())
    row = [name, listed, date.today().isoformat(), f"{os.cpu_count()} cores, {_processor()}"]
    with FileLock(f"{FILE}.lock"):
        rows = {}
        if FILE.exists():
            with FILE.open(encoding="utf-8", newline="") as file:
                rows = {known[0]: known for known in list(csv.reader(file))[1:]}
        rows[name] = row
        with FILE.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *(rows[key] for key in sorted(rows))])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
