"""What a cell finds does not depend on the cells that ran before it in the same process and store."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import tests.fakes  # noqa: F401  the backbone of the cells
from fused_clip.runner.cell import GROUPS, Cell
from fused_clip.runner.config import check
from tests.forks import QUICK
from tests.runner.test_config import composed

CELLS = tuple(
    (*QUICK, "dataset.n_train=200", "dataset.n_test=60", *own)
    for own in (
        ("fusion=weighted", "fusion.alpha=.1"),  # clusters of their own: the texts decide
        (),
        ("prompt=swapped",),
        ("classifier=soft_constrained_centroid",),
        ("clusters_per_target=1",),
        ("seed=1",),
    )
)


def findings(cells: Sequence[tuple[str, ...]], out: Path) -> dict[tuple[str, ...], dict[str, bytes]]:
    """Files with what each cell found, the cells run one after the other on one store."""
    found = {}
    for number, overrides in enumerate(cells):
        directory = out / str(number)
        directory.mkdir(parents=True)
        cfg = composed(*overrides, "tracking=none")
        choices = dict.fromkeys(GROUPS, "")
        Cell(check(cfg), cfg, directory, out, choices, list(overrides), job=True).run()
        names = ("metrics.json", "predictions.parquet")
        found[overrides] = {name: (directory / name).read_bytes() for name in names}
    return found


@pytest.mark.slow
def test_the_order_of_cells_changes_no_byte_of_what_they_find(tmp_path: Path) -> None:
    forwards = findings(CELLS, tmp_path / "forwards")
    backwards = findings(CELLS[::-1], tmp_path / "backwards")
    assert len({found["metrics.json"] for found in forwards.values()}) == len(CELLS), "the cells differ"
    assert forwards == backwards
