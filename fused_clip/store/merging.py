"""Merge the shards of an entry: refuse what does not fit, and give the bytes that one machine would have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from fused_clip.dataset.names import shortened
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.embeddings import rows_entry
from fused_clip.store.entry import StoredEntry
from fused_clip.store.shard_list import Part
from fused_clip.store.shards import ShardedEntry
from fused_clip.support.errors import InputError
from fused_clip.support.files import sha256

_AGAIN = "The same command without --merge embeds the missing part"


def merge(sharded: ShardedEntry, first: str) -> StoredEntry:
    """Make the whole entry of finished shards, atomically.

    Every file is compared with its checksum, by one process; others wait. The entry has the name, the files
    and the checksums that `Store.images` gives on one machine.

    Parameters
    ----------
    sharded : all its shards must be finished.
    first : name of the first image.

    Raises
    ------
    InputError
        If blocks are missing, damaged or written twice, or shards differ in number, encoder or versions.
    """
    whole = sharded.merged()
    if whole is None:
        with sharded.opening():
            whole = sharded.merged() or _merged(sharded, first)  # another process may have merged meanwhile
    _tidy(whole)
    return whole


def _merged(sharded: ShardedEntry, first: str) -> StoredEntry:
    parts = sharded.parts()
    _check_alike(sharded, parts)
    owners = _owners(sharded, parts)
    _check_files(sharded, owners)
    digest = hashlib.sha256()
    for start in sharded.blocks.starts:
        digest.update(sharded.load(RowBlocks.digest_name(start)).data)
    whole = rows_entry(sharded.root, sharded.backbone, sharded.blocks, images=digest.hexdigest(), first=first)
    files = {RowBlocks.name(start): part.files[RowBlocks.name(start)] for start, part in owners.items()}
    # The marker first: it tells an interrupted merge where to go on.
    sharded.marker(whole.folder.name).write_empty(complete=True)
    whole.adopt(sharded.folder, files)
    return whole


def _check_alike(sharded: ShardedEntry, parts: Sequence[Part]) -> None:
    counts = sorted({part.of for part in parts})
    if len(counts) > 1:
        rule = f"must all be of one number; there are shards of {' and of '.join(map(str, counts))}"
        raise InputError("shards", rule, str(sharded.folder), hint="Remove the files of one kind")
    for one, other in pairwise(parts):
        if difference := one.encoder.difference(other.encoder):
            rule = f"{one.shard} and {other.shard} are of different encoders or versions: {difference}"
            hint = "Remove the files of one kind, and run those shards again on equal machines"
            raise InputError("shards", rule, str(sharded.folder), hint=hint)


def _owners(sharded: ShardedEntry, parts: Sequence[Part]) -> dict[int, Part]:
    """The list that has each block."""
    having: dict[int, list[Part]] = {start: [] for start in sharded.blocks.starts}
    for part in parts:
        for start in part.starts() & having.keys():
            having[start].append(part)
    twice = [(start, found) for start, found in having.items() if len(found) > 1]
    if twice:
        named = [
            f"{_rows(sharded, start)} in shards {' and '.join(str(part.shard) for part in found)}"
            for start, found in twice
        ]
        hint = "Remove the list of one of them (shard-*.json), and run that shard again"
        raise InputError("shards", f"overlap: {shortened(named)}", str(sharded.folder), hint=hint)
    if lacking := [start for start, found in having.items() if not found]:
        raise InputError("shards", _gaps(sharded, lacking, parts), hint=_AGAIN)
    return {start: found[0] for start, found in having.items()}


def _gaps(sharded: ShardedEntry, lacking: Sequence[int], parts: Sequence[Part]) -> str:
    count = sum(sharded.blocks.stop(start) - start for start in lacking)
    shards = dict.fromkeys(str(sharded.shard_of(start, parts[0].of)) for start in lacking) if parts else {}
    named = f", of shards {shortened(list(shards))}" if shards else ""
    return f"{count:,} of {sharded.blocks.rows:,} rows are missing{named}"


def _rows(sharded: ShardedEntry, start: int) -> str:
    return f"rows {start:,} to {sharded.blocks.stop(start) - 1:,}"


def _check_files(sharded: ShardedEntry, owners: Mapping[int, Part]) -> None:
    kinds = (RowBlocks.name, RowBlocks.digest_name)
    files = {name(start): part for start, part in owners.items() for name in kinds}
    with ThreadPoolExecutor() as pool:
        found = pool.map(sha256, map(sharded.path, files))
        pairs = zip(files.items(), found, strict=True)
        bad = [name for (name, part), digest in pairs if part.files[name] != digest]
    if bad:
        named = [f"{name}.npy of shard {files[name].shard}" for name in bad]
        raise InputError("shards", f"are damaged: {shortened(named)}", str(sharded.folder), hint=_AGAIN)


def _tidy(entry: StoredEntry) -> None:
    """Remove what only the shards needed."""
    for pattern in ("shard-*.json", "digests-*.npy"):
        for file in entry.folder.glob(pattern):
            file.unlink(missing_ok=True)
