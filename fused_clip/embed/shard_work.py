"""Shards of a dataset: its images as they are listed, the encoder, and entries of the store."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fused_clip.embed.listed_images import listed_images
from fused_clip.runner.config import Options, build
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.merging import merge
from fused_clip.store.shard import Shard
from fused_clip.store.shards import ShardedEntry
from fused_clip.support.arrays import Array, FloatArray, ImageArray, IntArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    from fused_clip.backbone import Backbone
    from fused_clip.dataset.image_index import ImageIndex
    from fused_clip.store.entry import StoredEntry

log = logging.getLogger(__name__)
INDEXES = ".indexes"  # folder of lists, in the store
_DIGEST_BYTES = 32  # of SHA-256


@dataclass(frozen=True)
class ShardProgress:
    """ShardProgress of one shard.

    Parameters
    ----------
    shard : which one.
    rows : number of its images.
    done : of these, how many are embedded.
    running : whether a process works on it.
    """

    shard: Shard
    rows: int
    done: int
    running: bool

    @property
    def state(self) -> str:
        """``finished``, ``running`` or ``missing``."""
        return "finished" if self.done == self.rows else "running" if self.running else "missing"


class ShardWork:
    """Images of a dataset, cut into shards.

    Parameters
    ----------
    options : of the run; dataset and backbone are used.
    output_dir : has the store.

    Raises
    ------
    InputError
        If the images can't be listed, or the backbone can't work.
    """

    def __init__(self, options: Options, output_dir: Path) -> None:
        root = output_dir / "store"
        self.backbone: Backbone = build(options.backbone, dataset=None)
        self.backbone.check()
        self.indexes: dict[str, ImageIndex] = listed_images(options.dataset, options.data_dir, root / INDEXES)
        blocks = {
            name: RowBlocks.of(len(index), self.backbone.batch_size) for name, index in self.indexes.items()
        }
        self.count = sum(map(len, blocks.values()))
        self.entries: dict[str, ShardedEntry] = {}
        before = 0
        for name, index in self.indexes.items():
            self.entries[name] = ShardedEntry(
                root, index.listing, blocks[name], self.backbone, before, self.count
            )
            before += len(blocks[name])

    @property
    def rows(self) -> int:
        """Number of images."""
        return sum(map(len, self.indexes.values()))

    def check(self, count: int) -> None:
        """Check that shards can be added to the store.

        Parameters
        ----------
        count : number of shards.

        Raises
        ------
        InputError
            If the store has shards of another encoder or number, or there are more shards than blocks.
        """
        if count > self.count:
            rows = next(iter(self.entries.values())).blocks.size
            rule = f"must be at most {self.count:,}: {self.rows:,} images in blocks of {rows:,}"
            raise InputError("shards", rule, count)
        for entry in self.entries.values():
            if entry.merged() is None:
                entry.check(count)

    def run(self, shard: Shard) -> int:
        """Embed those images of a shard that are missing; give their number.

        Parameters
        ----------
        shard : of all images.
        """
        self.check(shard.of)
        clock, done = time.perf_counter(), 0
        for name, entry in self.entries.items():
            if entry.merged() is None and (starts := entry.starts(shard)):
                recorded = RecordedImages(self.indexes[name])
                compute = partial(self._compute, f"shard {shard}, {name}", entry, recorded)
                entry.write(shard, starts, compute)
                done += recorded.count
        seconds = time.perf_counter() - clock
        log.info("shard %s: %s images embedded in %.1f s", shard, f"{done:,}", seconds)
        return done

    def _compute(
        self, title: str, entry: ShardedEntry, images: RecordedImages, starts: Sequence[int]
    ) -> Iterator[tuple[int, FloatArray, Array]]:
        from fused_clip.backbone.batches import embed_images

        self.backbone.load()
        ranges = [range(start, entry.blocks.stop(start)) for start in starts]
        embedded = embed_images(self.backbone, images, ranges, title=title)
        for rows, block in zip(ranges, embedded, strict=True):
            yield rows.start, block, images.take(rows)

    def progress(self, count: int) -> list[ShardProgress]:
        """Find how far each shard is.

        Parameters
        ----------
        count : number of shards.
        """
        written: dict[str, set[int]] = {}
        for name, entry in self.entries.items():
            whole = entry.merged() is not None
            lists = (part.starts() for part in entry.parts())
            written[name] = set(entry.blocks.starts) if whole else set().union(*lists)
        return [self._progress(Shard(number, count), written) for number in range(1, count + 1)]

    def _progress(self, shard: Shard, written: dict[str, set[int]]) -> ShardProgress:
        rows = done = 0
        for name, entry in self.entries.items():
            for start in entry.starts(shard):
                size = entry.blocks.stop(start) - start
                rows += size
                done += size if start in written[name] else 0
        return ShardProgress(shard, rows, done, running=done < rows and self._is_running(shard))

    def _is_running(self, shard: Shard) -> bool:
        for entry in self.entries.values():
            if entry.folder.exists() and entry.starts(shard):
                with entry.locked(shard, wait=False) as free:
                    if not free:
                        return True
        return False

    def started(self) -> int | None:
        """Number of shards of which the store has some; None if it has none."""
        return max((part.of for entry in self.entries.values() for part in entry.parts()), default=None)

    def merge(self) -> list[StoredEntry]:
        """Merge the shards of each sequence of images into its entry of the store."""
        firsts = {name: index.ids(np.zeros(1, np.int64))[0] for name, index in self.indexes.items()}
        return [merge(entry, firsts[name]) for name, entry in self.entries.items()]


class RecordedImages:
    """Images of an index; the SHA-256 of each is kept until its block is written.

    Parameters
    ----------
    index : lists the images.

    Attributes
    ----------
    count : images whose digests were taken.
    """

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        self._digests: dict[int, bytes] = {}
        self.count = 0

    @property
    def fingerprint(self) -> str:
        """Hash of the listing; that of the contents is known when all shards are finished."""
        return self._index.listing

    def __len__(self) -> int:
        return len(self._index)

    def read(self, rows: IntArray) -> Iterator[ImageArray]:
        """Decode the rows, and keep their digests.

        Parameters
        ----------
        rows : (n,) of the index.
        """
        for row, (image, digest) in zip(rows.tolist(), self._index.read_with_digests(rows), strict=True):
            self._digests[row] = digest
            yield image

    def reduced(self, side: int) -> Self:
        """Give the same images, large JPEGs at reduced size: see `ReducibleImages`.

        Parameters
        ----------
        side : pixels that the short side of a reduced image keeps at least.
        """
        same = copy.copy(self)  # with the same digests
        same._index = self._index.reduced(side)
        return same

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows.

        Parameters
        ----------
        rows : (n,) of the index.
        """
        return self._index.ids(rows)

    def take(self, rows: range) -> Array:
        """Give the (len(rows), 32) digests of a block, which are then forgotten.

        Parameters
        ----------
        rows : of the block, which were read.
        """
        self.count += len(rows)
        joined = b"".join(map(self._digests.pop, rows))
        digests: Any = np.frombuffer(joined, np.uint8).reshape(len(rows), _DIGEST_BYTES)
        return np.asarray(digests)
