"""Sequences of images: pixels in memory, encoded bytes in a table, files in a folder."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.dataset.reading import Content, decode_each
from fused_clip.support.arrays import ImageArray, IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Grey images of one size, in memory.

    Parameters
    ----------
    pixels : (n, height, width) uint8.
    origin : prefix of the rows' names.
    """

    pixels: ImageArray
    origin: str

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of shape and pixels."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: IntArray) -> list[ImageArray]:
        """Give the rows as (height, width, 3) RGB."""
        return list(np.repeat(self.pixels[rows][..., None], 3, axis=3))

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows ``<origin>/<row>``."""
        return [f"{self.origin}/{row}" for row in rows]


class _Chunk(NamedTuple):
    """Images of a chunk as large binaries, and the SHA-256 of each in one string of bytes."""

    cells: Any
    digests: bytes


class EncodedImages:
    """Image files as binary cells of a table, read chunk by chunk and decoded on request.

    Parameters
    ----------
    chunks : each gives a chunk of the column as an arrow array of large binaries without nulls.
    sizes : number of rows of each chunk.
    origin : prefix of the rows' names.
    max_pixels : images of more pixels are unreadable.

    """

    def __init__(
        self,
        chunks: Sequence[Callable[[], "pa.Array"]],
        sizes: Sequence[int],
        origin: str,
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.origin = origin
        self.max_pixels = max_pixels
        self._side: int | None = None
        self._ends = np.cumsum(np.asarray(sizes, dtype=np.int64))
        self._chunks = chunks
        self._digests: dict[int, bytes] = {}
        # Rows in ascending order read each chunk once.
        self._chunk: Callable[[int], _Chunk] = lru_cache(maxsize=2)(self._read_chunk)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' own digests in their order, as that of `FileImages`."""
        whole = hashlib.sha256()
        for index in range(len(self._ends)):
            whole.update(self._chunk(index).digests)
        return whole.hexdigest()

    def _read_chunk(self, index: int) -> "_Chunk":
        """Read a chunk; it must be what it was the first time, when the fingerprint was taken."""
        cells = self._chunks[index]()
        stated = int(self._ends[index] - (self._ends[index - 1] if index else 0))
        if len(cells) != stated:
            rule = f"the table is damaged: a part of {self.origin} has {len(cells)} rows, not {stated}"
            raise InputError("dataset", rule, hint="Copy it anew")
        digests = _digests_of(cells)
        digest = hashlib.sha256(digests).digest()
        if self._digests.setdefault(index, digest) != digest:
            rule = f"images of {self.origin} are no longer what they were when this run began"
            raise InputError("dataset", rule, hint="Run again")
        return _Chunk(cells, digests)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, rows: IntArray) -> Iterator[ImageArray]:
        """Decode the rows to (height, width, 3) RGB, as they are asked for."""
        return _named(self.ids(rows), self.contents(rows), self.max_pixels, self._side)

    def reduced(self, side: int) -> Self:
        """Give the same images, large JPEGs at reduced size: see `ReducibleImages`.

        Parameters
        ----------
        side : pixels that the short side of a reduced image keeps at least.
        """
        same = copy.copy(self)  # with the same chunks in memory
        same._side = side
        return same

    def contents(self, rows: IntArray) -> list[bytes]:
        """Give the encoded images of the rows.

        Parameters
        ----------
        rows : (n,) of the sequence.
        """
        import pyarrow as pa

        chunk_of_row = np.searchsorted(self._ends, rows, side="right")
        encoded = [b""] * len(rows)
        for index in np.unique(chunk_of_row):
            chunk = self._chunk(int(index)).cells
            places = np.flatnonzero(chunk_of_row == index)
            start = self._ends[index] - len(chunk)
            values = chunk.take(pa.array(rows[places] - start)).to_pylist()
            for place, value in zip(places, values, strict=True):
                encoded[place] = value
        return encoded

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows ``<origin>/<row>``."""
        return [f"{self.origin}/{row}" for row in rows]


def _digests_of(cells: Any) -> bytes:
    """SHA-256 of each image of a chunk, one after the other."""
    _, offsets, data = cells.buffers()
    ends = np.frombuffer(offsets, np.int64)[cells.offset : cells.offset + len(cells) + 1].tolist()
    content = memoryview(data or b"")
    return b"".join(hashlib.sha256(content[start:end]).digest() for start, end in pairwise(ends))


@dataclass(frozen=True)
class FileImages:
    """Image files, or files in tar files, read on request.

    Parameters
    ----------
    paths : one file a row; a tar file may stand in several.
    names : name of each row, unique.
    digests : SHA-256 of each file's contents.
    max_pixels : images of more pixels are unreadable.
    times : time of change of each file in ns, when its digest was taken.
    spans : first byte and number of bytes of each image in its tar file; empty for files of their own.
    side : as of `fused_clip.dataset.decode.reduction`.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    digests: tuple[bytes, ...]
    max_pixels: int = MAX_PIXELS
    times: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    side: int | None = None

    @property
    def places(self) -> list[str]:
        """Path of each image; in a tar file with its span."""
        if not self.spans:
            return list(map(str, self.paths))
        pairs = zip(self.paths, self.spans, strict=True)
        return [f"{path}:{start}+{size}" for path, (start, size) in pairs]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the files' contents in their order."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: IntArray) -> Iterator[ImageArray]:
        """Decode the rows to (height, width, 3) RGB, as they are asked for."""
        return _named(self.ids(rows), map(self._content, rows), self.max_pixels, self.side)

    def reduced(self, side: int) -> Self:
        """Give the same images, large JPEGs at reduced size: see `ReducibleImages`.

        Parameters
        ----------
        side : pixels that the short side of a reduced image keeps at least.
        """
        return replace(self, side=side)

    def ids(self, rows: IntArray) -> list[str]:
        """Name the rows as given."""
        return [self.names[row] for row in rows]

    def _content(self, row: int) -> Content:
        try:
            encoded = read_regular(self.paths[row], MOST_IMAGE, *(self.spans[row] if self.spans else ()))
        except OSError as error:
            return UnreadableImageError(error.strerror or str(error))
        if hashlib.sha256(encoded).digest() != self.digests[row]:
            return UnreadableImageError("it is no longer what it was when this run began; run again")
        return encoded


def _named(
    names: Sequence[str], contents: Iterable[Content], max_pixels: int, side: int | None
) -> Iterator[ImageArray]:
    """Decode contents, and name the first that can't be."""
    for name, image in zip(names, decode_each(contents, max_pixels, side=side), strict=True):
        if isinstance(image, UnreadableImageError):
            raise InputError("dataset", f"image {name} can't be read ({image})") from image
        yield image
