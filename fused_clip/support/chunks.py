"""Iterables in portions."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists, in their order, without holding more than one of them.

    Parameters
    ----------
    items : any iterable.
    size : items in a list, at least 1; the last list may be shorter.

    Yields
    ------
    Lists that are not empty.
    """
    rest = iter(items)  # itertools.batched needs Python 3.12
    while some := list(islice(rest, size)):
        yield some
