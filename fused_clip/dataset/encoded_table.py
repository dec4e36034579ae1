"""Tables of encoded images in Parquet or Arrow files, as Hugging Face ``datasets`` writes them."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.images import EncodedImages
from fused_clip.dataset.options import MAX_PIXELS
from fused_clip.dataset.parquet import ParquetTable, checked, checked_schema
from fused_clip.dataset.text_table import check_columns
from fused_clip.support.arrays import IntArray
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular
from fused_clip.support.json_files import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

Chunks = list[tuple[Callable[[], "pa.Array"], int]]


def read_split(
    files: Sequence[Path],
    image_column: str,
    label_column: str,
    origin: str,
    max_pixels: int = MAX_PIXELS,
) -> Labelled:
    """Read the labels of a split; its images stay in their files.

    Parameters
    ----------
    files : ``.parquet`` files, or ``.arrow`` files of the ``datasets`` cache, in order.
    image_column : binaries, or structs of ``bytes`` and ``path``.
    label_column : strings, or integers that the files may name.
    origin : set and split, e.g. ``mnist/train``.
    max_pixels : images of more pixels are unreadable.
    """
    import pyarrow as pa

    chunks: Chunks = []
    labels: list[pa.ChunkedArray] = []
    for file in files:
        read = _read_parquet if file.suffix == ".parquet" else _read_arrow
        schema, of_file, column = read(file, image_column, label_column)
        chunks += of_file
        labels += column.chunks
    names = _names(schema, label_column)
    column = pa.chunked_array(labels, schema.field(label_column).type)
    indices, names = _indices(column, names, label_column, origin)
    images = EncodedImages(
        [chunk for chunk, _ in chunks], [size for _, size in chunks], origin, max_pixels=max_pixels
    )
    return Labelled(images, indices, names, origin)


def chunk_sizes(file: Path, image_column: str, label_column: str) -> list[int]:
    """Count the rows of each chunk of a file by its metadata; no image is read.

    Parameters
    ----------
    file : as those of `read_split`.
    image_column : as in `read_split`.
    label_column : as in `read_split`.
    """
    if file.suffix == ".parquet":
        table = ParquetTable("dataset", file)
        _check_columns(table.schema, image_column, label_column)
        return table.group_sizes
    _, chunks, _ = _read_arrow(file, image_column, label_column)
    return [size for _, size in chunks]


def read_chunk(file: Path, index: int, column: str) -> "pa.Array":
    """Read the encoded images of a chunk as large binaries.

    Parameters
    ----------
    file : as those of `read_split`.
    index : of the chunk.
    column : of images.
    """
    try:
        if file.suffix == ".parquet":
            return _row_group(ParquetTable("dataset", file), index, column)
        return _binaries(_mapped(file, file.stat().st_mtime_ns).column(column).chunk(index))
    except (OSError, LookupError) as error:
        raise InputError("dataset", f"is no longer what it was ({error})", str(file)) from error


@lru_cache(maxsize=1)
def _mapped(file: Path, _time: int) -> "pa.Table":
    """Keep a file mapped whose chunks are asked for in turn: each mapping checks all of it."""
    return _arrow_table(file)


def _read_parquet(file: Path, image: str, label: str) -> "tuple[pa.Schema, Chunks, pa.ChunkedArray]":
    table = ParquetTable("dataset", file)
    _check_columns(table.schema, image, label)
    chunks: Chunks = [
        (partial(_row_group, table, group, image), size) for group, size in enumerate(table.group_sizes)
    ]
    return table.schema, chunks, table.read([label]).column(0)


def _row_group(table: ParquetTable, group: int, column: str) -> "pa.Array":
    import pyarrow as pa

    return pa.concat_arrays([_binaries(chunk) for chunk in table.group(group, column).chunks])


def _read_arrow(file: Path, image: str, label: str) -> "tuple[pa.Schema, Chunks, pa.ChunkedArray]":
    table = _arrow_table(file)
    _check_columns(table.schema, image, label)
    chunks: Chunks = [(partial(_binaries, chunk), len(chunk)) for chunk in table.column(image).chunks]
    return table.schema, chunks, table.column(label)


def _arrow_table(file: Path) -> "pa.Table":
    import pyarrow as pa

    try:
        table = checked(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
        checked_schema(table.schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError("dataset", f"must be a readable Arrow file ({error})", str(file)) from error
    return table


def _check_columns(schema: "pa.Schema", image: str, label: str) -> None:
    import pyarrow.types as kinds

    check_columns({"dataset.image_column": image, "dataset.label_column": label}, schema.names)
    kind = schema.field(image).type
    cells = kind.field("bytes").type if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (kinds.is_binary(cells) or kinds.is_large_binary(cells)):
        raise InputError("dataset.image_column", "must contain encoded images", f"{image} of type {kind}")
    kind = schema.field(label).type
    if not (kinds.is_integer(kind) or kinds.is_string(kind) or kinds.is_large_string(kind)):
        raise InputError(
            "dataset.label_column", "must contain integers or strings", f"{label} of type {kind}"
        )


def _binaries(cells: "pa.Array") -> "pa.Array":
    """Encoded images as large binaries; a cell with a path alone is read from its file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(cells.type):
        encoded = pc.struct_field(cells, "bytes")
        if encoded.null_count and cells.type.get_field_index("path") >= 0:
            encoded = pa.array(map(_from_file, cells.to_pylist()), pa.large_binary())
        cells = encoded
    if cells.null_count:
        raise InputError("dataset.image_column", f"{cells.null_count} rows have no image")
    return cells.cast(pa.large_binary())


def _from_file(cell: Mapping[str, Any] | None) -> bytes | None:
    if cell is None:
        return None
    encoded: bytes | None = cell["bytes"]
    if encoded is not None or not cell["path"]:
        return encoded
    try:
        return read_regular(Path(cell["path"]), MOST_IMAGE)
    except OSError as error:
        rule = f"image {cell['path']} can't be read ({error.strerror or error})"
        raise InputError("dataset.image_column", rule) from error


def _names(schema: "pa.Schema", column: str) -> tuple[str, ...] | None:
    """Class names that ``datasets`` keeps in a file's metadata."""
    stated = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(stated).get("info", {}).get("features", {})
        names = features.get(column, {}).get("names")
        return None if names is None else tuple(map(str, names))
    except (ValueError, TypeError, AttributeError) as error:
        rule = "must have the metadata that datasets writes, or none"
        raise InputError("dataset", rule, stated.decode("utf-8", "replace")) from error


def _indices(
    labels: "pa.ChunkedArray", names: tuple[str, ...] | None, column: str, origin: str
) -> tuple[IntArray, tuple[str, ...] | None]:
    """Labels as indices into names."""
    import pyarrow as pa

    if labels.null_count:
        raise InputError(
            "dataset.label_column", f"{labels.null_count} rows of {origin} have no label", column
        )
    if not pa.types.is_integer(labels.type):
        found, indices = np.unique(labels.to_numpy().astype(str), return_inverse=True)
        return indices.astype(np.int64), tuple(found.tolist())
    indices = labels.to_numpy().astype(np.int64)
    if len(indices) and (indices.min() < 0 or (names is not None and indices.max() >= len(names))):
        rule = f"{origin} has labels outside [0, {len(names) if names else 'classes'}); -1 means no label"
        raise InputError("dataset.label_column", rule, column)
    return indices, names
