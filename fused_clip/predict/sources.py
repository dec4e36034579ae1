"""Images to predict: folders, files, globs and tables, in a fixed order."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fused_clip.dataset.folder_walk import Check, image_files, is_image
from fused_clip.dataset.inside import inside
from fused_clip.dataset.names import printable
from fused_clip.dataset.parquet import ParquetTable
from fused_clip.dataset.text_table import check_columns, text_rows
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular

if TYPE_CHECKING:
    import pyarrow as pa

OPTION = "images"

State = list[int] | None


class Item(NamedTuple):
    """An image to read.

    Parameters
    ----------
    path : its name in the table of predictions.
    read : gives the contents of its file, or raises OSError.
    file : of its own, if it has one.
    """

    path: str
    read: Callable[[], bytes]
    file: Path | None = None

    def state(self) -> State:
        """State of its file."""
        return None if self.file is None else state_of(self.file)


class ImageSource(Protocol):
    """Images that can be iterated several times."""

    def __len__(self) -> int:
        """Number of images; an upper bound if several sources share some."""

    def __iter__(self) -> Iterator[Item]:
        """Yield each image once."""


def state_of(file: Path) -> State:
    """Size and time of change (ns) of a file; None if there is none.

    Parameters
    ----------
    file : to look at.
    """
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def find_source(
    images: str | Sequence[str], column: str | None = None, *, outside: bool = False
) -> ImageSource:
    """Find the images that a user names.

    Parameters
    ----------
    images : one place or several: a folder, searched recursively; an image file; a glob (``**`` is any
        depth); a ``.csv``, ``.tsv`` or ``.parquet`` table of paths, relative to its folder; or a ``.parquet``
        table with encoded images. With several places a file counts once, and names of a table's images
        start with its folder.
    column : of the tables; None is ``path``, or else the first column with images.
    outside : whether paths of a table may lead out of its folder, and links out of a folder.

    Raises
    ------
    InputError
        If there is no image. While iterating, for a path or a link that leads out of its folder.
    """
    places = [images] if isinstance(images, str) else list(images)
    once: dict[str, str] = {}
    for place in places:
        once.setdefault(os.path.abspath(os.path.expanduser(place)), place)
    found = [_find_one(place, column, outside=outside) for place in once.values()]
    return found[0] if len(found) == 1 else _Source(lambda: _each_once(found), count=sum(map(len, found)))


def is_table(place: str | Path) -> bool:
    """Whether a place is an existing table of images.

    Parameters
    ----------
    place : path.
    """
    return Path(place).suffix in _TABLES and Path(place).is_file()


def _find_one(images: str, column: str | None, *, outside: bool) -> _Source:
    place = Path(images).expanduser()
    if place.is_dir():
        check = None if outside else inside(place, OPTION, "--outside-root follows the link")
        source = _Source(lambda: map(_file_item, image_files(OPTION, place, check)))
    elif is_table(place):
        way = "--outside-root reads images of other folders"
        check = None if outside else inside(place.parent, OPTION, way)
        source = _TABLES[place.suffix](_Table(place, check), column)
    elif place.is_file():
        source = _Source(lambda: [_file_item(str(place))])
    elif glob.has_magic(str(place)):
        found = [name for name in sorted(glob.glob(str(place), recursive=True)) if is_image(name)]
        source = _Source(lambda: map(_file_item, found))
    else:
        raise InputError(OPTION, "must be an existing folder, file, glob, .csv, .tsv or .parquet", images)
    if not len(source):
        raise InputError(OPTION, "must contain an image", images)
    return source


@dataclass(frozen=True)
class _Source:
    """Items made anew for each iteration; `table` is the file that lists them, if any."""

    items: Callable[[], Iterable[Item]]
    table: Path | None = None
    count: int | None = None

    def __len__(self) -> int:
        return sum(1 for _ in self.items()) if self.count is None else self.count

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items())


def _each_once(sources: Sequence[_Source]) -> Iterator[Item]:
    seen: set[str] = set()
    for source in sources:
        for item in source:
            if item.file is not None:
                file = os.path.abspath(item.file)
                if file in seen:
                    continue
                seen.add(file)
            # Tables of different folders may list the same names.
            yield item._replace(path=str(source.table.parent / item.path)) if source.table else item


class _Table(NamedTuple):
    """A table of images, and the check of the paths in it, if any."""

    path: Path
    check: Check | None


def _text_source(table: _Table, column: str | None) -> _Source:
    def items() -> Iterator[Item]:
        rows = text_rows(OPTION, table.path, {"column": column or "path"})
        return (_listed_item(table, name) for (name,) in rows)

    return _Source(items, table.path)


def _parquet_source(table: _Table, column: str | None) -> _Source:
    parquet = ParquetTable(OPTION, table.path)
    makers = _makers(parquet.schema)
    images = [name for name, maker in makers.items() if maker is not _path_cell]
    chosen = column or ("path" if "path" in makers else next(iter(images), "path"))
    check_columns({"column": chosen}, makers, "the table that can have images")

    def items() -> Iterator[Item]:
        return (makers[chosen](table, row, cell) for row, cell in enumerate(parquet.cells(chosen)))

    return _Source(items, table.path, sum(parquet.group_sizes))


def _makers(schema: pa.Schema) -> dict[str, Callable[[_Table, int, Any], Item]]:
    """How items are made of the cells of each column that can have images."""
    import pyarrow.types as kinds

    found: dict[str, Callable[[_Table, int, Any], Item]] = {}
    for field in schema:
        if kinds.is_string(field.type) or kinds.is_large_string(field.type):
            found[field.name] = _path_cell
        elif kinds.is_binary(field.type) or kinds.is_large_binary(field.type):
            found[field.name] = _bytes_cell
        elif kinds.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            found[field.name] = _struct_cell
    return found


def _path_cell(table: _Table, row: int, cell: str | None) -> Item:
    return _listed_item(table, cell or "")


def _bytes_cell(table: _Table, row: int, cell: bytes | None) -> Item:
    return Item(f"{table.path.name}/{row}", lambda: _there(cell))


def _struct_cell(table: _Table, row: int, cell: dict[str, Any] | None) -> Item:
    """A cell as ``datasets`` writes it: bytes, or a path to a file, which need not be unique."""
    path, encoded = (cell or {}).get("path"), (cell or {}).get("bytes")
    if encoded is None and path:
        return _listed_item(table, path)
    name = f"{table.path.name}/{row}" + (f"/{path}" if path else "")
    return Item(printable(name), lambda: _there(encoded))


def _there(encoded: bytes | None) -> bytes:
    if encoded is None:
        raise OSError("the row has no image")
    return encoded


def _file_item(name: str) -> Item:
    return Item(printable(name), lambda: _contents(Path(name)), Path(name))


def _listed_item(table: _Table, name: str) -> Item:
    file = table.path.parent / name
    if table.check:
        table.check(file)
    return Item(printable(name), lambda: _contents(file), file)


def _contents(path: Path) -> bytes:
    return read_regular(path, MOST_IMAGE)


_TABLES = {".csv": _text_source, ".tsv": _text_source, ".parquet": _parquet_source}
