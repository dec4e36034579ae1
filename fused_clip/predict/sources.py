"""Images to predict: folders, files, globs and tables; one after the other, always in the same order."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fused_clip.dataset.folder import image_files, is_image
from fused_clip.dataset.names import printable
from fused_clip.dataset.parquet import ParquetTable
from fused_clip.dataset.text_table import check_columns, text_rows
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

OPTION = "images"

State = list[int] | None


class Item(NamedTuple):
    """An image that is not read yet.

    Parameters
    ----------
    path : its name in the table of predictions.
    read : gives the contents of its file; raises OSError if it can't.
    file : that it is in, where it has one of its own.
    """

    path: str
    read: Callable[[], bytes]
    file: Path | None = None

    def state(self) -> State:
        """As `state_of` its file."""
        return None if self.file is None else state_of(self.file)


class ImageSource(Protocol):
    """Images that can be iterated several times; at most their names are in memory."""

    def __len__(self) -> int:
        """Number of images; an upper bound where several sources share some."""

    def __iter__(self) -> Iterator[Item]:
        """Give each image once."""


def state_of(file: Path) -> State:
    """Size and time of change (ns), which differ for a file that was replaced; None where there is none."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def find_source(images: str | Sequence[str], column: str | None = None) -> ImageSource:
    """Find the images that a user names.

    Parameters
    ----------
    images : one place or several. A place is a folder, searched with all below it; an image file; a glob
        (``**`` is any depth); a ``.csv``, ``.tsv`` or ``.parquet`` table of paths, relative to its folder; or
        a ``.parquet`` table with encoded images, as the hub's sets are. With several places each file is
        one image however often it is named, and the names of a table's images start with its folder.
    column : of the tables; None is ``path`` for paths, else the first that has images.

    Raises
    ------
    InputError
        If a place does not exist or has no image; if a folder in it can't be read.
    """
    places = [images] if isinstance(images, str) else list(images)
    once: dict[str, str] = {}
    for place in places:
        once.setdefault(os.path.abspath(os.path.expanduser(place)), place)
    found = [_find_one(place, column) for place in once.values()]
    return found[0] if len(found) == 1 else SeveralSources(tuple(found))


def is_table(place: str | Path) -> bool:
    """Whether a place is an existing table of images."""
    return Path(place).suffix in _TABLES and Path(place).is_file()


def _find_one(images: str, column: str | None) -> ImageSource:
    place = Path(images).expanduser()
    if place.is_dir():
        source: ImageSource = FolderSource(place)
    elif is_table(place):
        source = _TABLES[place.suffix](place, column)
    elif place.is_file():
        source = FilesSource((str(place),))
    elif glob.has_magic(str(place)):
        found = sorted(glob.glob(str(place), recursive=True))
        source = FilesSource(tuple(name for name in found if is_image(name)))
    else:
        raise InputError(OPTION, "must be an existing folder, file, glob, .csv, .tsv or .parquet", images)
    if not len(source):
        raise InputError(OPTION, "must contain an image", images)
    return source


@dataclass(frozen=True)
class FolderSource:
    """Image files of a folder and all below it, as `image_files` finds them."""

    root: Path

    def __len__(self) -> int:
        return sum(1 for _ in image_files(OPTION, self.root))

    def __iter__(self) -> Iterator[Item]:
        return map(_file_item, image_files(OPTION, self.root))


@dataclass(frozen=True)
class FilesSource:
    """Files by name."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Item]:
        return map(_file_item, self.names)


@dataclass(frozen=True)
class SeveralSources:
    """Sources one after the other; a file that several of them have is one image, in its first place."""

    sources: tuple[ImageSource, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __iter__(self) -> Iterator[Item]:
        seen: set[str] = set()
        for source in self.sources:
            table = getattr(source, "table", None)
            for item in source:
                if item.file is not None:
                    file = os.path.abspath(item.file)
                    if file in seen:
                        continue
                    seen.add(file)
                # Tables of different folders may list the same names.
                yield item if table is None else item._replace(path=str(table.parent / item.path))


@dataclass(frozen=True)
class TextTableSource:
    """Files that a column of a csv or tsv table names."""

    table: Path
    column: str

    def __len__(self) -> int:
        return sum(1 for _ in self._names())

    def __iter__(self) -> Iterator[Item]:
        return (_listed_item(self.table, name) for name in self._names())

    def _names(self) -> Iterator[str]:
        return (name for (name,) in text_rows(OPTION, self.table, {"column": self.column}))


@dataclass(frozen=True)
class ParquetSource:
    """Rows of a Parquet table, as `item` makes them of a cell and its row."""

    table: Path
    column: str
    rows: int
    item: Callable[[Path, int, Any], Item]

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Item]:
        cells = ParquetTable(OPTION, self.table).cells(self.column)
        return (self.item(self.table, row, cell) for row, cell in enumerate(cells))


def _parquet_source(table: Path, column: str | None) -> ParquetSource:
    parquet = ParquetTable(OPTION, table)
    makers = _makers(parquet.schema)
    images = [name for name, maker in makers.items() if maker is not _path_cell]
    chosen = column or ("path" if "path" in makers else next(iter(images), "path"))
    check_columns({"column": chosen}, makers, "the table that can have images")
    return ParquetSource(table, chosen, sum(parquet.group_sizes), makers[chosen])


def _makers(schema: pa.Schema) -> dict[str, Callable[[Path, int, Any], Item]]:
    """How items are made of the cells of each column that can have images."""
    import pyarrow.types as kinds

    found: dict[str, Callable[[Path, int, Any], Item]] = {}
    for field in schema:
        if kinds.is_string(field.type) or kinds.is_large_string(field.type):
            found[field.name] = _path_cell
        elif kinds.is_binary(field.type) or kinds.is_large_binary(field.type):
            found[field.name] = _bytes_cell
        elif kinds.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            found[field.name] = _struct_cell
    return found


def _path_cell(table: Path, row: int, cell: str | None) -> Item:
    return _listed_item(table, cell or "")


def _bytes_cell(table: Path, row: int, cell: bytes | None) -> Item:
    return Item(f"{table.name}/{row}", lambda: _there(cell))


def _struct_cell(table: Path, row: int, cell: dict[str, Any] | None) -> Item:
    """A cell as ``datasets`` writes it: bytes, or a path to a file, which need not be unique."""
    path = (cell or {}).get("path")
    encoded = (cell or {}).get("bytes")
    if encoded is None and path:
        return _listed_item(table, path)
    name = f"{table.name}/{row}" + (f"/{path}" if path else "")
    return Item(printable(name), lambda: _there(encoded))


def _there(encoded: bytes | None) -> bytes:
    if encoded is None:
        raise OSError("the row has no image")
    return encoded


def _file_item(name: str) -> Item:
    return Item(printable(name), lambda: _contents(Path(name)), Path(name))


def _listed_item(table: Path, name: str) -> Item:
    file = table.parent / name
    return Item(printable(name), lambda: _contents(file), file)


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except ValueError as error:  # a name that no file can have
        raise OSError(str(error)) from error


_TABLES: dict[str, Callable[[Path, str | None], ImageSource]] = {
    ".csv": lambda place, column: TextTableSource(place, column or "path"),
    ".tsv": lambda place, column: TextTableSource(place, column or "path"),
    ".parquet": _parquet_source,
}
