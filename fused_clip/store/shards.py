"""Shards: an entry of embeddings that several processes write, each some of its blocks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from fused_clip.backbone.base import Backbone
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.entry import LOCKS, Entry, StoredEntry
from fused_clip.store.shard import Shard
from fused_clip.store.shard_list import Encoder, Part, read_part, written
from fused_clip.support.arrays import Array, FloatArray
from fused_clip.support.checksums import sealed
from fused_clip.support.errors import InputError
from fused_clip.support.files import locked, sha256, writable, write_atomic

log = logging.getLogger(__name__)

# Rows and digests of a block by its first row.
ComputeBlocks = Callable[[Sequence[int]], Iterator[tuple[int, FloatArray, Array]]]


class ShardedEntry:
    """Embeddings of all rows of a sequence of images that is listed but not yet read.

    Parameters
    ----------
    root : folder of the store.
    listing : hash of the images' names and sizes.
    blocks : of the rows.
    backbone : embeds them.
    before, among : number of blocks of other sequences before these, and of all: shards are shares of all.
    """

    def __init__(
        self, root: Path, listing: str, blocks: RowBlocks, backbone: Backbone, before: int = 0, among: int = 0
    ) -> None:
        self.root, self.blocks, self.backbone = root, blocks, backbone
        self._before, self._among = before, among or len(blocks)
        self._key = {"listing": listing, "backbone": backbone.name, "block_rows": self.blocks.size}

    @property
    def folder(self) -> Path:
        """Folder of the shards."""
        return self._entry.folder

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder on this machine."""
        return Encoder.of(self.backbone)

    @cached_property
    def _entry(self) -> Entry:
        about = {
            "backbone": self.backbone.name,
            "rows": self.blocks.rows,
            "encoder": self.encoder.model_dump(),
        }
        return Entry(self.root, "shards", self._key, about)

    def starts(self, shard: Shard) -> range:
        """First rows of the blocks of a shard.

        Parameters
        ----------
        shard : of all sequences.
        """
        share = shard.share(self._among)
        return self.blocks.starts[max(0, share.start - self._before) : max(0, share.stop - self._before)]

    def shard_of(self, start: int, count: int) -> Shard:
        """Find the shard that a block belongs to.

        Parameters
        ----------
        start : first row of the block.
        count : number of shards.
        """
        place = self._before + self.blocks.starts.index(start)
        return Shard(((place + 1) * count - 1) // self._among + 1, count)

    def merged(self) -> StoredEntry | None:
        """The whole entry; None if it is not merged, or is gone."""
        manifest = self.marker().manifest
        if manifest is None:
            return None
        entry = StoredEntry(self.root / Path(str(manifest.about.get("entry"))).name)
        return entry if entry.is_complete() else None

    def marker(self, whole: str = "") -> Entry:
        """Entry without files that names the whole one.

        Parameters
        ----------
        whole : name of the whole entry.
        """
        return Entry(self.root, "merged", self._key, {"entry": whole})

    def check(self, count: int | None = None) -> None:
        """Check that shards of this encoder, and of their number, can be added to the store.

        Parameters
        ----------
        count : number of shards; None where it doesn't matter.

        Raises
        ------
        InputError
            If the store has shards of another encoder or another number of them.
        """
        manifest = self._entry.manifest
        if manifest is None:
            return
        hint = f"Remove {self.folder} to begin anew, or name another output_dir"
        theirs = Encoder.model_validate(manifest.about["encoder"])
        if difference := theirs.difference(self.encoder):
            rule = (
                f"must be the encoder of the shards in the store; these differ, there and here: {difference}"
            )
            raise InputError("backbone", rule, self.backbone.name, hint=hint)
        others = {part.of for part in self.parts()} - {count}
        if count is not None and others:
            rule = f"the store has shards of {min(others)}, so their number must be that"
            raise InputError("shards", rule, count, hint=hint)

    def parts(self) -> list[Part]:
        """Lists of all shards that have written something; damaged ones are left out with a warning."""
        return [part for file in sorted(self.folder.glob("shard-*.json")) if (part := read_part(file))]

    def write(self, shard: Shard, starts: Sequence[int], compute: ComputeBlocks) -> None:
        """Write those blocks of a shard that are missing or damaged, one by one.

        Parameters
        ----------
        shard : to be written.
        starts : first rows of its blocks.
        compute : gives rows and digests of the blocks whose first rows it gets.
        """
        if not starts:
            return
        self.check()
        with self.locked(shard):
            files = self._intact(shard)
            there = written(files)
            missing = [start for start in starts if start not in there]
            if not missing or not self._open():
                return
            for start, rows, digests in compute(missing):
                files[RowBlocks.name(start)] = self._entry.write(RowBlocks.name(start), rows)
                files[RowBlocks.digest_name(start)] = self._entry.write(RowBlocks.digest_name(start), digests)
                self._list(shard, files)
                self._entry.note_use()

    def locked(self, shard: Shard, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Keep other processes from writing a shard; yields whether the lock is ours.

        Parameters
        ----------
        shard : to be written.
        wait : until the lock is free.
        """
        name = f"{self.folder.name}-{shard.number:05d}-of-{shard.of:05d}.lock"
        return locked(self.root / LOCKS / name, wait=wait, what=f"shard {shard}")

    def path(self, name: str) -> Path:
        """Return the file of an array.

        Parameters
        ----------
        name : of the array.
        """
        return self._entry.path(name)

    def load(self, name: str) -> Array:
        """Read one array.

        Parameters
        ----------
        name : of the array.
        """
        return self._entry.load(name)

    def opening(self) -> AbstractContextManager[bool]:
        """Keep other processes from making the folder, and from merging it."""
        return self._entry.locked()

    def _open(self) -> bool:
        """Make the folder with the encoder of whoever comes first; False if another process has merged it."""
        with self.opening():
            if self.merged() is not None:
                return False
            if self._entry.manifest is None:
                self._entry.write_empty(complete=False)
        self.check()
        return True

    def _intact(self, shard: Shard) -> dict[str, str]:
        part = read_part(self.folder / shard.file) if (self.folder / shard.file).exists() else None
        files = {} if part is None else part.files
        return {name: digest for name, digest in files.items() if sha256(self.path(name)) == digest}

    def _list(self, shard: Shard, files: Mapping[str, str]) -> None:
        part = Part(number=shard.number, of=shard.of, encoder=self.encoder, files=dict(sorted(files.items())))
        content = json.dumps(sealed(part.model_dump()), indent=1) + "\n"
        with writable(self.folder):
            write_atomic(self.folder / shard.file, content.encode())
