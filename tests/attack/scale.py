"""How much the attacks try, and what they count.

In CI they are bounded; ``make attack``, before a release, sets FUSED_CLIP_ATTACK=full: they try more, and
leave their counts in ``experiments/reliability``, from which docs/reliability.md is made.
"""

import json
import os
import platform
from datetime import date
from pathlib import Path

FULL = os.environ.get("FUSED_CLIP_ATTACK") == "full"
COUNTS = Path(__file__).parents[2] / "experiments" / "reliability"


def tries(bounded: int, full: int) -> int:
    """How many to try: fewer in CI, all before a release."""
    return full if FULL else bounded


def record(name: str, **counts: int | float | str) -> None:
    """Leave counts for the document, if all was tried."""
    if FULL:
        COUNTS.mkdir(parents=True, exist_ok=True)
        facts = {
            **counts,
            "date": date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {_processor()}",
        }
        (COUNTS / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
