"""Parquet files, read whole, by row group or a few rows at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Columns = TypeVar("Columns", "pa.Table", "pa.RecordBatch")

_ROWS_A_READ, _BYTES_A_READ = 64, 1_048_576


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file; each method raises `InputError` where the file is damaged or missing.

    Parameters
    ----------
    option : names the file in errors.
    file : its path.
    """

    option: str
    file: Path

    @cached_property
    def schema(self) -> "pa.Schema":
        """Columns, with the metadata of the file."""
        with self._opened() as file:
            return checked_schema(file.schema_arrow)

    @cached_property
    def group_sizes(self) -> list[int]:
        """Number of rows of each row group."""
        with self._opened() as file:
            return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]

    def bytes_of(self, columns: Sequence[str]) -> int:
        """Bytes of columns before compression.

        Parameters
        ----------
        columns : names.
        """
        wanted = tuple(f"{name}." for name in columns)  # a path goes on with the parts of a list
        with self._opened() as file:
            groups = (file.metadata.row_group(group) for group in range(file.num_row_groups))
            chunks = (group.column(place) for group in groups for place in range(group.num_columns))
            return sum(
                chunk.total_uncompressed_size
                for chunk in chunks
                if f"{chunk.path_in_schema}.".startswith(wanted)
            )

    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Read columns whole.

        Parameters
        ----------
        columns : names.
        """
        with self._opened() as file:
            return checked(file.read(columns=list(dict.fromkeys(columns))))

    def group(self, index: int, column: str) -> "pa.ChunkedArray":
        """Read a column of one row group.

        Parameters
        ----------
        index : of the row group.
        column : its name.
        """
        with self._opened() as file:
            return checked(file.read_row_group(index, columns=[column])).column(column)

    def cells(self, column: str) -> Iterator[Any]:
        """Read a column as Python values, with a few rows in memory at a time.

        Parameters
        ----------
        column : its name.
        """
        # Without a buffer size pyarrow reads a row group's column in one piece, and keeps it.
        with self._opened(buffer_size=_BYTES_A_READ) as file:
            for batch in file.iter_batches(_ROWS_A_READ, columns=[column]):
                yield from checked(batch).column(0).to_pylist()

    @contextmanager
    def _opened(self, buffer_size: int = 0) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        # pq.read_table reads ahead whole columns (pre_buffer), and takes a folder named "a=b" for a column.
        try:
            with pq.ParquetFile(self.file, pre_buffer=False, buffer_size=buffer_size) as file:
                yield file
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            rule = f"must be a readable Parquet file ({error})"
            raise InputError(self.option, rule, str(self.file)) from error


def checked_schema(schema: "pa.Schema") -> "pa.Schema":
    """Give a schema whose names can be read; raises UnicodeDecodeError for another.

    Parameters
    ----------
    schema : of a file.
    """
    names = [*schema.names]
    kinds = [field.type for field in schema]
    while kinds:
        inner = [kind.field(place) for kind in kinds for place in range(kind.num_fields)]
        names += [field.name for field in inner]
        kinds = [field.type for field in inner]
    return schema


def checked(columns: Columns) -> Columns:
    """Give columns whose values can be read: pyarrow reads texts, offsets and indices as they stand.

    Parameters
    ----------
    columns : of a file; raises ArrowInvalid for damaged ones.
    """
    columns.validate(full=True)
    return columns
