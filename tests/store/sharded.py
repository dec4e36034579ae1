"""A small sequence of images whose embeddings are written in shards."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.shard import Shard
from fused_clip.store.shards import ShardedEntry
from fused_clip.support.arrays import Array, FloatArray, ImageArray, IntArray
from tests.fakes import FakeBackbone

N, SIZE = 75, 8


class Source:
    """Images of one value each; computes blocks, and notes which were asked for."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fails_at = fails_at

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.digests(range(N)).tobytes()).hexdigest()

    def __len__(self) -> int:
        return N

    def read(self, rows: IntArray) -> list[ImageArray]:
        return [np.full((2, 2, 3), row, np.uint8) for row in rows]

    def ids(self, rows: IntArray) -> list[str]:
        return [f"image {row}" for row in rows]

    def rows(self, rows: range) -> FloatArray:
        return FakeBackbone().encode_images(self.read(np.asarray(rows)))

    def digests(self, rows: range) -> Array:
        return np.stack([np.frombuffer(hashlib.sha256(bytes([row])).digest(), np.uint8) for row in rows])

    def compute(self, starts: Sequence[int]) -> Iterator[tuple[int, FloatArray, Array]]:
        for start in starts:
            self.asked.append(start)
            if start == self.fails_at:
                raise ZeroDivisionError
            rows = range(start, min(start + SIZE, N))
            yield start, self.rows(rows), self.digests(rows)


def sharded_entry(root: Path, backbone: Backbone | None = None) -> ShardedEntry:
    return ShardedEntry(root / "store", "listing", RowBlocks(N, SIZE), backbone or FakeBackbone())


def write_all(entry: ShardedEntry, source: Source, of: int) -> None:
    for number in range(1, of + 1):
        entry.write(Shard(number, of), entry.starts(Shard(number, of)), source.compute)
