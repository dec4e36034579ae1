"""Images listed in Arrow files, for sets too large to be listed in memory or to be read twice."""

import copy
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from fused_clip.dataset.decode import UnreadableImageError
from fused_clip.dataset.encoded_table import read_chunk
from fused_clip.dataset.images import EncodedImages
from fused_clip.dataset.index_file import Entry, IndexFiles, Listed, container, write_files
from fused_clip.dataset.names import printable
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.dataset.reading import Content, decode_each
from fused_clip.support.arrays import ImageArray, IntArray
from fused_clip.support.chunks import batched
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular

_AT_ONCE = 64  # rows of a table whose encoded images are copied at a time


class _Rows(Protocol):
    """Rows of one kind of index."""

    def __len__(self) -> int: ...

    def named(self, rows: Iterable[int]) -> Iterator[str]: ...

    def contents(self, rows: Iterable[int]) -> Iterator[tuple[str, Content]]: ...


class ImageIndex:
    """Images in the order of the dataset's rows; each is read on request, and the list stays on disk.

    Parameters
    ----------
    folder : that `write_index` wrote.

    Raises
    ------
    InputError
        If there is no whole index.
    """

    def __init__(self, folder: Path) -> None:
        self._files = IndexFiles(folder)
        self.max_pixels: int = self._files.facts["max_pixels"]
        self._side: int | None = None
        table = self._files.facts.get("table")
        self._rows: _Rows = _FileRows(self._files) if table is None else _TableRows(self._files, table)

    @classmethod
    def open(cls, folder: Path) -> "ImageIndex":
        """Open an index.

        Parameters
        ----------
        folder : that `write_index` wrote.
        """
        return cls(folder)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def listing(self) -> str:
        """SHA-256 (hex) of the images' names, sizes and places in tar files; not of their contents."""
        return str(self._files.facts["listing"])

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of images that were left out because they can't be read."""
        return tuple(self._files.facts["skipped"])

    def contents(self, start: int, stop: int) -> Iterator[bytes]:
        """Read the encoded images of a range of rows, one by one.

        Parameters
        ----------
        start : first row.
        stop : the row after the last.

        Raises
        ------
        InputError
            For an image that is gone or has another size.
        """
        for name, content in self._rows.contents(range(start, stop)):
            yield _whole(name, content)

    def read(self, rows: IntArray) -> Iterator[ImageArray]:
        """Decode rows to (height, width, 3) RGB, as they are asked for.

        Parameters
        ----------
        rows : (n,) of the index; ascending rows read each chunk of a table once.
        """
        return (image for image, _ in self.read_with_digests(rows))

    def reduced(self, side: int) -> Self:
        """Give the same images, large JPEGs at reduced size: see `ReducibleImages`.

        Parameters
        ----------
        side : pixels that the short side of a reduced image keeps at least.
        """
        same = copy.copy(self)
        same._side = side
        return same

    def read_with_digests(self, rows: IntArray) -> Iterator[tuple[ImageArray, bytes]]:
        """Decode rows as `read`; with each comes the SHA-256 of its encoded bytes, which are read once.

        Parameters
        ----------
        rows : (n,) of the index.

        Raises
        ------
        InputError
            For an image that is gone, has another size or can't be decoded.
        """
        seen: deque[tuple[str, bytes]] = deque()

        def hashed() -> Iterator[Content]:
            for name, content in self._rows.contents(map(int, rows)):
                seen.append((name, hashlib.sha256(_whole(name, content)).digest()))
                yield content

        for image in decode_each(hashed(), self.max_pixels, side=self._side):
            name, digest = seen.popleft()
            if isinstance(image, UnreadableImageError):
                raise _unreadable(name, image) from image
            yield image, digest

    def ids(self, rows: IntArray) -> list[str]:
        """Name rows as the dataset does.

        Parameters
        ----------
        rows : (n,) of the index.
        """
        return list(self._rows.named(map(int, rows)))

    def changed(self) -> str:
        """Name the first folder, tar file or table that has changed since the index was made; "" if none has.

        Only the state of each is looked at, not of the files in a folder.
        """
        for known in self._files.containers():
            try:
                now = container(known.path, known.prefix)
            except OSError as error:
                return f"{printable(known.path)} can't be read ({error.strerror})"
            if now != known:
                return f"{printable(known.path)} has changed"
        return ""


def write_index(
    folder: Path,
    parts: Iterable[Entry],
    *,
    max_pixels: int = MAX_PIXELS,
    table: Mapping[str, Any] | None = None,
) -> ImageIndex:
    """Write an index while its images are found, and open it.

    It is written atomically, and replaces the index in that folder. Memory does not grow with the number of
    images.

    Parameters
    ----------
    folder : of the index; it is made.
    parts : images in the order of their rows. A container that comes alone, before its images or without any,
        is looked at by `ImageIndex.changed`; names of images left out are kept.
    max_pixels : images of more pixels are unreadable.
    table : for chunks of tables: their `column` of images, and the `origin`, which starts the rows' names.
    """
    write_files(folder, parts, {"max_pixels": max_pixels, "table": None if table is None else dict(table)})
    return ImageIndex(folder)


class _FileRows:
    """Files of their own, and members of tar files."""

    def __init__(self, files: IndexFiles) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files.rows)

    def named(self, rows: Iterable[int]) -> Iterator[str]:
        return map(_name, self._files.listed(rows))

    def contents(self, rows: Iterable[int]) -> Iterator[tuple[str, Content]]:
        return ((_name(image), content_of(image)) for image in self._files.listed(rows))


class _TableRows:
    """Chunks of tables."""

    def __init__(self, files: IndexFiles, table: Mapping[str, str]) -> None:
        chunks = list(files.listed(range(len(files.rows))))
        self._images = EncodedImages(
            [partial(read_chunk, Path(one.container.path), one.start, table["column"]) for one in chunks],
            [one.size for one in chunks],
            table["origin"],
        )

    def __len__(self) -> int:
        return len(self._images)

    def named(self, rows: Iterable[int]) -> Iterator[str]:
        return iter(self._images.ids(np.fromiter(rows, np.int64)))

    def contents(self, rows: Iterable[int]) -> Iterator[tuple[str, Content]]:
        for some in batched(rows, _AT_ONCE):
            yield from zip(self.named(some), self._images.contents(np.array(some)), strict=True)


def _name(image: Listed) -> str:
    return printable(image.container.prefix + image.name)


def content_of(image: Listed) -> Content:
    """Read an encoded image, or give the error; one of another size is not what it was.

    Parameters
    ----------
    image : that is no chunk of a table.
    """
    place = image.container.path
    try:
        if image.start < 0:
            content = read_regular(os.path.join(place, image.name), MOST_IMAGE)
        else:
            content = read_regular(place, MOST_IMAGE, image.start, image.size)
    except OSError as error:
        return UnreadableImageError(error.strerror or str(error))
    if len(content) != image.size:
        return UnreadableImageError(f"it has {len(content):,} bytes; {image.size:,} when it was indexed")
    return content


def _whole(name: str, content: Content) -> bytes:
    if isinstance(content, UnreadableImageError):
        raise _unreadable(name, content) from content
    return content


def _unreadable(name: str, error: UnreadableImageError) -> InputError:
    return InputError("dataset", f"image {name} can't be read ({error})")
