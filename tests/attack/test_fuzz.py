"""What others wrote or damaged is refused in words, quickly, or read."""

import os

import pytest

from tests.attack import scale
from tests.attack.fuzzing import fuzz

GROUPS = ("store", "results", "model", "vectors", "tables", "images", "knowledge", "overrides")
SEED = int.from_bytes(os.urandom(4)) if scale.FULL else 0  # the same contents in CI each time


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_damaged_contents_are_read_or_refused(group: str) -> None:
    report = fuzz(group, scale.tries(60, 240), SEED)
    assert not report.finding, f"seed {SEED}: {report.finding}"
    tried, refused = sum(report.tried.values()), sum(report.refused.values())
    scale.record(f"fuzz-{group}", tried=tried, refused=refused, **report.tried)
    assert tried > 200, "the readers were hardly called"
    assert 0 < refused < tried
