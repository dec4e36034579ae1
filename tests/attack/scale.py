"""How much the attacks try, and what they count.

In CI they are bounded; ``make attack``, before a release, sets FUSED_CLIP_ATTACK=full: they try more, and
leave their counts in ``experiments/reliability/counts.csv``, which docs/reliability.md shows.
"""

import csv
import os
import platform
from datetime import date
from pathlib import Path

from filelock import FileLock

FULL = os.environ.get("FUSED_CLIP_ATTACK") == "full"
COUNTS = Path(__file__).parents[2] / "experiments" / "reliability" / "counts.csv"
_COLUMNS = ("attack", "counts", "date", "machine")


def tries(bounded: int, full: int) -> int:
    """How many to try: fewer in CI, all before a release."""
    return full if FULL else bounded


def record(name: str, **counts: int | float | str) -> None:
    """Leave counts for the document, if all was tried; the words of their names are parted by ``_``."""
    if not FULL:
        return
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in counts.items())
    machine = f"{os.cpu_count()} cores, {_processor()}"
    with FileLock(f"{COUNTS}.lock"):
        rows = {}
        if COUNTS.exists():
            with COUNTS.open(encoding="utf-8", newline="") as file:
                rows = {row[0]: row for row in list(csv.reader(file))[1:]}
        rows[name] = [name, listed, date.today().isoformat(), machine]
        with COUNTS.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *(rows[key] for key in sorted(rows))])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
