"""One of several shares of an entry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fused_clip.support.errors import InputError

MOST_SHARDS = 99_999
_WRITTEN = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the blocks.

    Parameters
    ----------
    number : from 1.
    of : number of shards.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/64``.

        Parameters
        ----------
        text : number and count.

        Raises
        ------
        InputError
            If it is not written so, or the number is 0 or above the count.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]) or int(found[2]) > MOST_SHARDS:
            rule = f"must be a shard and their number, from 1/1 to {MOST_SHARDS}/{MOST_SHARDS}, such as 3/64"
            raise InputError("shard", rule, text, hint="Shards count from 1")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def file(self) -> str:
        """Name of the file that lists what the shard has written."""
        return f"shard-{self.number:05d}-of-{self.of:05d}.json"

    def share(self, count: int) -> range:
        """Share of `count` things that follow each other.

        Parameters
        ----------
        count : of things.
        """
        return range((self.number - 1) * count // self.of, self.number * count // self.of)
