"""The garbage collector while a command starts, and afterwards."""

import atexit
import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fused_clip.support import collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    atexit.unregister(gc.freeze)
    collector._COMMAND.clear()


def test_it_rests_until_it_is_woken() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    collector.rest()
    assert gc.get_threshold()[0] > 10 * usual[0]
    assert gc.isenabled()
    kept = [[i] for i in range(1_000)]
    collector.wake()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() >= frozen + len(kept)


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


def test_it_rests_again_for_a_block_that_imports() -> None:
    usual = gc.get_threshold()
    collector.rest()
    collector.wake()
    frozen = gc.get_freeze_count()
    with collector.resting():
        assert gc.get_threshold()[0] > 10 * usual[0]
        kept = [[i] for i in range(1_000)]
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_it_is_left_alone_where_no_command_runs() -> None:
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collector.resting():
        assert gc.get_threshold() == usual
        kept = [[i] for i in range(1_000)]
    assert gc.get_freeze_count() < frozen + len(kept)


def test_the_last_collection_of_a_process_has_nothing_to_look_at() -> None:
    code = """
import atexit, gc, sys
from fused_clip.support import collector

class Cycle:
    def __init__(self):
        self.own = self
    def __del__(self):
        print("collected")

if "rest" in sys.argv:
    collector.rest()
atexit.register(lambda: print("the end"))
Cycle()
"""
    ends = [
        subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        ).stdout
        for words in ([], ["rest"])
    ]
    assert ends == ["the end\ncollected\n", "the end\n"]
