"""Batches of an iterable."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists, in order, one at a time.

    Parameters
    ----------
    items : any iterable.
    size : items per list, at least 1; the last list may be shorter.
    """
    rest = iter(items)  # itertools.batched needs Python 3.12
    while some := list(islice(rest, size)):
        yield some
