"""Embeddings on disk, each computed once for a key of all that changes its bytes."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.backbone.batches import embed_images, embed_texts
from fused_clip.dataset.image_dataset import Images
from fused_clip.dataset.vectors import Vectors
from fused_clip.store.blocks import RowBlocks
from fused_clip.store.entry import Entry, Facts, StoredEntry
from fused_clip.support.arrays import Array, FloatArray, IntArray
from fused_clip.support.errors import InputError

_ALL = "all"  # in a key: every row of the split


class Store:
    """Embeddings and small derived arrays in a folder.

    An entry is a folder of ``.npy`` files and a ``manifest.json`` with their SHA-256. Writes are atomic, and
    files are checked when an entry is opened: damaged ones are computed anew with a warning, and an
    interrupted entry goes on after its last file, with the same bytes. Processes that ask for the same entry
    compute it once.

    Parameters
    ----------
    root : folder; made at the first write.

    Attributes
    ----------
    embedded_images : images that this object had to embed.
    embedded_seconds : time for that, without loading the model.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.embedded_images = 0
        self.embedded_seconds = 0.0

    def images(self, backbone: Backbone, images: Images, rows: IntArray, *, title: str = "") -> FloatArray:
        """Embed rows of a parent split: (len(rows), dim), in the order of `rows`.

        Precomputed rows are returned unchanged. The parent is embedded whole if at least half of it is asked
        for; otherwise the rows are an entry of their own, unless the parent is stored already.

        Parameters
        ----------
        backbone : embeds the missing images.
        images : the parent split.
        rows : (n,) rows of it.
        title : of the progress bar.
        """
        if isinstance(images, Vectors):
            return images.vectors[rows]
        if not len(rows):
            return np.empty((0, backbone.dim), np.float32)
        entry, places = self._entry_of(backbone, images, rows)
        return entry.take(places, title)

    def missing(
        self, backbone: Backbone, images: Images, rows: IntArray, planned: Container[str] = ()
    ) -> dict[str, int]:
        """Predict the entry that `images` would write: its name -> its bytes, or empty.

        Parameters
        ----------
        backbone, images, rows : as for `images`.
        planned : names of entries that will be written before.
        """
        if isinstance(images, Vectors) or not len(rows):
            return {}
        parent = self._whole(backbone, images)
        entry, _ = self._entry_of(backbone, images, rows)
        there = entry.is_complete() or parent.name in planned or entry.name in planned
        return {} if there else {entry.name: entry.bytes}

    def note_use(self, backbone: Backbone, images: Images, rows: IntArray) -> None:
        """Update the time of use of the entry of rows, if there is one.

        Parameters
        ----------
        backbone, images, rows : as for `images`.
        """
        if not isinstance(images, Vectors) and len(rows):
            entry, _ = self._entry_of(backbone, images, rows)
            entry.note_use()

    def _entry_of(self, backbone: Backbone, images: Images, rows: IntArray) -> tuple[_Rows, IntArray]:
        """The entry with rows of a parent split, and their places in it."""
        rows = np.asarray(rows, dtype=np.int64)
        wanted, places = np.unique(rows, return_inverse=True)
        parent = self._whole(backbone, images)
        if 2 * len(wanted) >= len(images) or parent.is_complete():
            return parent, rows
        return _Rows(self, backbone, images, wanted), places

    def _whole(self, backbone: Backbone, images: Images) -> _Rows:
        return _Rows(self, backbone, images, np.arange(len(images), dtype=np.int64))

    def stored(self, images: str, backbone: str, rows: IntArray) -> FloatArray:
        """Load stored embeddings of rows of a parent split: (len(rows), dim), in the order of `rows`.

        Parameters
        ----------
        images, backbone : the fingerprints of both.
        rows : (n,) rows of the split.
        """
        rows = np.asarray(rows, dtype=np.int64)
        wanted, places = np.unique(rows, return_inverse=True)
        named = {_ALL: rows, _hash(wanted): places}
        for folder in sorted(self.root.glob("images-*")):
            entry = StoredEntry(folder)
            try:
                manifest = entry.manifest
            except OSError:  # it may not be read
                continue
            key = manifest.key if manifest and manifest.complete else {}
            if (key.get("images"), key.get("backbone")) != (images, backbone) or key["rows"] not in named:
                continue
            entry.note_use()
            if manifest and entry.intact() == manifest.files:
                return _gather(entry, named[key["rows"]], key["shard_rows"])
        rule = f"must have intact embeddings of these rows (images {images[:12]}, backbone {backbone[:12]})"
        raise InputError("store", rule, str(self.root), hint="A run with the same data and backbone fills it")

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> FloatArray:
        """Embed p texts: (p, dim).

        Parameters
        ----------
        backbone : embeds the missing texts.
        texts : p texts.
        """
        if not len(texts):
            return np.empty((0, backbone.dim), np.float32)
        listed = json.dumps(list(texts))
        key = {"backbone": backbone.fingerprint, "texts": hashlib.sha256(listed.encode()).hexdigest()}
        about: Facts = {"backbone": backbone.name, "rows": len(texts), "texts": listed}
        entry = Entry(self.root, "texts", key, about)
        entry.ensure(["rows"], lambda _: iter([("rows", embed_texts(backbone, texts))]))
        return entry.load("rows")

    def cached(self, kind: str, key: Facts, compute: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Load small derived arrays by name, computed first if they are not stored.

        Parameters
        ----------
        kind : start of the entry's name: letters, digits and ``-``.
        key : all that determines the arrays.
        compute : returns the arrays by name: letters, digits, ``-`` and ``_``.
        """
        entry = Entry(self.root, kind, key)
        names = entry.ensure(None, lambda _: iter(compute().items()))
        return {name: entry.load(name) for name in names}


class _Rows:
    """The entry of some rows of a parent split."""

    def __init__(self, store: Store, backbone: Backbone, images: Images, rows: IntArray) -> None:
        self._store, self._backbone, self._images, self._rows = store, backbone, images, rows
        self._blocks = RowBlocks.of(len(rows), backbone.batch_size)
        self._entry = rows_entry(
            store.root,
            backbone,
            self._blocks,
            images=images.fingerprint,
            rows=_hash(rows) if len(rows) < len(images) else _ALL,
            first=images.ids(rows[:1])[0],
        )

    @property
    def name(self) -> str:
        return self._entry.folder.name

    @property
    def bytes(self) -> int:
        """Size of the finished entry, without headers and the manifest."""
        return 4 * len(self._rows) * self._backbone.dim

    def is_complete(self) -> bool:
        return self._entry.is_complete()

    def note_use(self) -> None:
        self._entry.note_use()

    def take(self, places: IntArray, title: str) -> FloatArray:
        """(len(places), dim) rows at the given places, embedded first if they are missing."""
        compute = functools.partial(self._compute, title)
        self._entry.ensure(list(map(RowBlocks.name, self._blocks.starts)), compute)
        return _gather(self._entry, places, self._blocks.size)

    def _compute(self, title: str, finished: frozenset[str]) -> Iterator[tuple[str, Array]]:
        missing = [start for start in self._blocks.starts if RowBlocks.name(start) not in finished]
        blocks = [self._rows[start : self._blocks.stop(start)] for start in missing]
        done = len(self._rows) - sum(len(block) for block in blocks)
        self._backbone.load()
        clock = time.perf_counter()
        embedded = embed_images(self._backbone, self._images, blocks, done=done, title=title)
        for start, block in zip(missing, embedded, strict=True):
            self._store.embedded_images += len(block)
            self._store.embedded_seconds += time.perf_counter() - clock
            clock = time.perf_counter()
            yield RowBlocks.name(start), block


def rows_entry(
    root: Path, backbone: Backbone, blocks: RowBlocks, *, images: str, rows: str = _ALL, first: str
) -> Entry:
    """Name the entry with the embeddings of rows of a parent split.

    Parameters
    ----------
    root : folder of the store.
    backbone : that embeds them.
    blocks : of its rows.
    images : fingerprint of the parent split.
    rows : hash of the rows; by default all of the split.
    first : name of the first image, for a reader of the manifest.
    """
    key: Facts = {
        "images": images,
        "rows": rows,
        "backbone": backbone.fingerprint,
        "shard_rows": blocks.size,  # stored entries have this name
    }
    about = {"backbone": backbone.name, "first image": first, "rows": blocks.rows, "dim": backbone.dim}
    return Entry(root, "images", key, about)


def _gather(entry: StoredEntry, places: IntArray, block_rows: int) -> FloatArray:
    """(len(places), dim) rows of an entry, which must be whole."""
    dim = entry.load(RowBlocks.name(0), memory_map=True).shape[1]
    out = np.empty((len(places), dim), np.float32)
    order = np.argsort(places, kind="stable")
    starts = range(0, int(places.max(initial=-1)) + 1, block_rows)
    ends = np.searchsorted(places[order], [*starts, len(starts) * block_rows])
    for start, low, high in zip(starts, ends[:-1], ends[1:], strict=True):
        chosen = order[low:high]
        if len(chosen):
            out[chosen] = entry.load(RowBlocks.name(start), memory_map=True)[places[chosen] - start]
    return out


def _hash(rows: IntArray) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()
