"""How much the attacks try, and what they count.

In CI they are bounded; ``make attack``, before a release, sets FUSED_CLIP_ATTACK=full: they try more, and
leave their counts in ``experiments/reliability/counts.csv``, which docs/reliability.md shows.
"""

import os
import shutil

import pytest

from experiments.reliability import counts as kept

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
FULL = os.environ.get("FUSED_CLIP_ATTACK") == "full"


def tries(bounded: int, full: int) -> int:
    """How many to try: fewer in CI, all before a release."""
    return full if FULL else bounded


def record(name: str, **counts: int | float | str) -> None:
    """Leave counts for the document, if all was tried."""
    if FULL:
        kept.record(name, **counts)
