"""Differences that documents quote with their interval are those of the result files."""

import re
from itertools import chain
from pathlib import Path

import pytest

from fused_clip.report.writer import read_table

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/findings.md",
    "experiments/paper_table1/README.md",
    "experiments/text_contribution/README.md",
    "experiments/prompt_spacing/README.md",
)
QUOTED = re.compile(r"(?P<gap>[+-]?\.\d{4})\s+(?P<interval>\[[+-]\.\d{4},\s+[+-]\.\d{4}\])")


def measured() -> set[tuple[str, str]]:
    """Every difference with its interval, as the tables of differences and of spacings show them."""
    found = set()
    names = ("differences", "spacing")
    paths = ((ROOT / "experiments").glob(f"*/results/{at}{name}.json") for at in ("", "*/") for name in names)
    for path in chain(*paths):
        table = read_table(path)
        gap, interval = (
            next(i for i, name in enumerate(table.columns) if name.startswith(starts))
            for starts in (("first - second", "task - swapped"), "95 % interval")
        )
        for row in table.rows:
            mean = row[gap].text.partition(" ")[0]
            found.add((mean if mean[0] in "+-" or not float(mean) else f"+{mean}", row[interval].text))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_quoted_difference_is_a_measured_one(page: str) -> None:
    text = re.sub(r"<!-- report:.*?<!-- /report -->", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    quoted = [(one["gap"], re.sub(r"\s+", " ", one["interval"])) for one in QUOTED.finditer(text)]
    assert set(quoted) <= measured()
