"""Threads before and after a loop: order, distance, and errors."""

import threading
from collections.abc import Iterator

import pytest

from fused_clip.support.overlap import read_ahead, work_behind


def test_work_is_done_in_order_in_a_thread_of_its_own() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(number: int) -> None:
        threads.add(threading.get_ident())
        done.append(number)

    work_behind(work, range(20))
    assert done == list(range(20))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_the_loop_is_at_most_three_batches_ahead_of_the_work() -> None:
    third, fourth = threading.Event(), threading.Event()

    def batches() -> Iterator[int]:
        for number in range(10):
            if number == 2:
                third.set()
            if number == 3:
                fourth.set()
            yield number

    def work(number: int) -> None:
        if number == 0:
            assert third.wait(60)
            assert not fourth.wait(0.2), "it comes when the first is done"

    work_behind(work, batches())
    assert fourth.is_set()


def test_nothing_after_a_failure_is_worked_on() -> None:
    done, came = [], []

    def work(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        done.append(number)

    def batches() -> Iterator[int]:
        for number in range(50):
            came.append(number)
            yield number

    with pytest.raises(ValueError, match="three"):
        work_behind(work, batches())
    assert done == [0, 1, 2]
    assert len(came) <= 6


def test_what_came_before_a_failing_loop_is_worked_on() -> None:
    done: list[int] = []

    def batches() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_behind(done.append, batches())
    assert done == [0, 1, 2]


def test_an_error_of_the_work_is_not_lost_where_the_loop_fails_too() -> None:
    def batches() -> Iterator[int]:
        yield 0
        raise KeyError("later")

    def work(batch: int) -> None:
        raise OSError("first")

    with pytest.raises(OSError, match="first"):
        work_behind(work, batches())


def test_batches_are_read_in_order_a_little_ahead() -> None:
    read: list[int] = []

    def double(number: int) -> int:
        read.append(number)
        return 2 * number

    ahead = read_ahead(double, range(10))
    assert next(ahead) == 0
    assert read in ([0], [0, 1], [0, 1, 2])
    assert list(ahead) == list(range(2, 20, 2))
