"""The garbage collector while a command starts, and afterwards."""

import gc
from collections.abc import Iterator

import pytest

from fused_clip.support import collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_it_rests_until_it_is_woken() -> None:
    usual = gc.get_threshold()
    collector.rest()
    assert gc.get_threshold()[0] > 10 * usual[0]
    assert gc.isenabled()
    collector.wake()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0


def test_what_cells_leave_is_collected_from_the_second_cell_on() -> None:
    collector.rest()
    collector.wake()
    frozen = gc.get_freeze_count()
    garbage: list[object] = []
    garbage.append(garbage)
    del garbage
    collector.wake()
    assert gc.get_freeze_count() <= frozen
    assert gc.collect() > 0
