"""Files of vectors, .npz, .npy or Parquet -> vectors, labels and row names of each split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fused_clip.dataset.columns import as_texts, existing_file, read_columns, rows_of_splits
from fused_clip.dataset.mapped_rows import MappedRows
from fused_clip.dataset.names import class_name
from fused_clip.dataset.parquet import ParquetTable
from fused_clip.dataset.text_table import check_columns
from fused_clip.dataset.vectors import checked_vectors
from fused_clip.support.arrays import Array, FloatArray
from fused_clip.support.errors import InputError
from fused_clip.support.memory import check_fits

if TYPE_CHECKING:
    import pyarrow as pa

Table = Mapping[str, Array | MappedRows]
VECTORS, LABELS = "dataset.vector_column", "dataset.label_column"
IDS, SPLITS = "dataset.id_column", "dataset.split_column"
_FEWER = "Use fewer rows (dataset.n_train and dataset.n_test)"
_ON_DISK = "Save the vectors as a .npy file, whose rows stay on disk (dataset.labels_path)"
_BESIDE = {"dataset.path": "dataset.labels_path", "dataset.test_path": "dataset.test_labels_path"}


class LabelledVectors(NamedTuple):
    """(n, d) vectors with the label, None where unknown, and the name of each row."""

    vectors: FloatArray | MappedRows
    labels: tuple[str | None, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The arrays or columns of a file of vectors.

    Parameters
    ----------
    columns : option -> array or column, for `VECTORS`, `LABELS` and, if there, `IDS` and `SPLITS`.
    train, test, text : names of the splits; an ``.npz`` file has arrays ``<split>_<array>`` for each.
    labelled : whether images have labels; the labels of `text` are the texts.
    most : rows that are used of a file whose rows stay on disk; None for all.
    """

    columns: Mapping[str, str]
    train: str
    test: str
    text: str
    labelled: bool = True
    most: int | None = None

    @property
    def splits(self) -> tuple[str, str, str]:
        """Names of all splits."""
        return self.train, self.test, self.text

    def of_split(self, split: str) -> dict[str, str]:
        """Give the names of the arrays of one split, or of all rows (``""``), in an ``.npz`` file.

        Parameters
        ----------
        split : its name.
        """
        without = {IDS} if split == self.text else set() if self.labelled else {LABELS}
        start = f"{split}_" if split else ""
        without |= {SPLITS} if split else set()
        return {key: start + array for key, array in self.columns.items() if key not in without}


def read_vectors(
    option: str, file: Path, layout: Layout, labels_path: str | None = None
) -> dict[str, LabelledVectors]:
    """Read a file of vectors.

    Parameters
    ----------
    option : names the file in errors.
    file : ``.npz``, ``.npy`` or ``.parquet``.
    layout : its arrays or columns.
    labels_path : all but the vectors, for a ``.npy`` file: ``.npz``, ``.npy`` with the labels alone, or a
        table, csv or Parquet.

    Returns
    -------
    Split -> its rows; the split ``""`` has those of no split.
    """
    if file.suffix.lower() == ".npy":
        tables = _read_npy(option, file, layout, labels_path)
    elif labels_path is not None:
        raise InputError(_BESIDE[option], f"must be null unless {option} is a .npy file", labels_path)
    else:
        tables = (_read_parquet if file.suffix.lower() == ".parquet" else _read_npz)(option, file, layout)
    if SPLITS in tables.get("", {}):
        tables |= _by_split(tables.pop(""), layout)
    return {split: _labelled(table, split, file.stem, layout) for split, table in tables.items()}


def _by_split(table: Table, layout: Layout) -> dict[str, Table]:
    names = as_texts(SPLITS, _column(table, SPLITS))
    present = [split for split in layout.splits if split in names]
    parts = rows_of_splits(SPLITS, names, present)
    return {
        split: {key: values[rows] for key, values in table.items() if key != SPLITS}
        for split, rows in zip(present, parts, strict=True)
    }


def _labelled(table: Table, split: str, stem: str, layout: Layout) -> LabelledVectors:
    labels: tuple[str | None, ...] = (None,) * _n_rows(table)
    names: tuple[str, ...] = ()
    if layout.labelled or split == layout.text:
        labels = names = tuple(map(class_name, as_texts(LABELS, _column(table, LABELS))))
    if split != layout.text:
        start = "/".join(filter(None, (stem, split)))
        names = tuple(f"{start}/{row}" for row in range(len(labels)))
        if IDS in table:
            names = tuple(as_texts(IDS, _column(table, IDS)))
    return LabelledVectors(checked_vectors(VECTORS, table[VECTORS], names), labels, names)


def _n_rows(table: Table) -> int:
    shape = table[VECTORS].shape
    return int(shape[0]) if shape else 1


def _column(table: Table, key: str) -> list[object]:
    """Values of a column, of which there must be one a vector."""
    check_columns({key: key}, table)
    values, n_rows = np.asarray(table[key]), _n_rows(table)
    if values.shape != (n_rows,):
        rule = f"must contain one value for each of the {n_rows} vectors, has shape {values.shape}"
        raise InputError(key, rule)
    listed: list[object] = values.tolist()
    return listed


def _read_npy(option: str, file: Path, layout: Layout, labels_path: str | None) -> dict[str, Table]:
    """Vectors of one file, which stay there, and all else of another."""
    option_beside = _BESIDE[option]
    rows = MappedRows(option, file)
    # Rows of one split of several are read from the file whole.
    used = len(rows) if layout.most is None or SPLITS in layout.columns else min(len(rows), layout.most)
    # Of each row the run has the vector, and that fused with its prompt.
    check_fits(f"{used:,} rows of {option}", 2 * 4 * used * rows.shape[1], _FEWER)
    wanted = {key: column for key, column in layout.columns.items() if key != VECTORS}
    wanted = {key: column for key, column in wanted.items() if layout.labelled or key != LABELS}
    if labels_path is None and not wanted:
        return {"": {VECTORS: rows}}
    if labels_path is None:
        hint = "For example a .npy file with a label a row, or dataset.labels=none"
        raise InputError(option_beside, f"must name the file with the labels of {option}", None, hint=hint)
    beside = existing_file(option_beside, labels_path)
    if beside.suffix.lower() == ".npz":
        return _read_npz(option_beside, beside, layout, rows)
    if beside.suffix.lower() == ".npy":
        return {"": {VECTORS: rows, **_labels_alone(option_beside, beside, wanted)}}
    columns = read_columns(option_beside, beside, wanted) if wanted else {}
    return {"": {VECTORS: rows, **{key: _as_objects(values) for key, values in columns.items()}}}


def _labels_alone(option: str, file: Path, wanted: Mapping[str, str]) -> Table:
    for key in wanted.keys() - {LABELS}:
        raise InputError(key, f"must be null where {option} is a .npy file of labels alone", wanted[key])
    try:
        return {LABELS: np.load(file, allow_pickle=False)}
    except Exception as error:  # np.load raises anything on damaged bytes
        rule = f"must be a readable .npy file of text or whole numbers ({type(error).__name__}: {error})"
        raise InputError(option, rule, str(file)) from error


def _read_npz(option: str, file: Path, layout: Layout, rows: MappedRows | None = None) -> dict[str, Table]:
    """Arrays of a file; `rows` are the vectors of no split if the file lacks them."""
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as archive:
            known = list(archive.files)
            splits = layout.splits if rows is None else (layout.text,)
            own = [split for split in splits if layout.of_split(split)[VECTORS] in known]
            wanted = {split: layout.of_split(split) for split in own}
            if layout.columns[VECTORS] in known or not set(own) - {layout.text}:
                wanted[""] = layout.of_split("")
            if rows is not None:
                del wanted[""][VECTORS]
            for arrays in wanted.values():
                check_columns(arrays, known)
            names = {array for arrays in wanted.values() for array in arrays.values()}
            members = [one for one in archive.zip.infolist() if one.filename.removesuffix(".npy") in names]
            check_fits(f"the arrays of {option}", sum(one.file_size for one in members), _ON_DISK)
            tables: dict[str, Table] = {
                split: {key: np.asarray(archive[array]) for key, array in arrays.items()}
                for split, arrays in wanted.items()
            }
    except InputError:
        raise
    except Exception as error:  # np.load raises anything on damaged bytes
        rule = f"must be a readable .npz or Parquet file ({type(error).__name__}: {error})"
        raise InputError(option, rule, str(file)) from error
    return tables if rows is None else tables | {"": {**tables[""], VECTORS: rows}}


def _read_parquet(option: str, file: Path, layout: Layout) -> dict[str, Table]:
    parquet = ParquetTable(option, file)
    known = parquet.schema.names
    # Without labels the column is still read where it is there: texts may have theirs in it.
    wanted = {
        key: column
        for key, column in layout.columns.items()
        if layout.labelled or key != LABELS or column in known
    }
    check_columns(wanted, known)
    check_fits(f"the columns of {option}", parquet.bytes_of(list(wanted.values())), _ON_DISK)
    table = parquet.read(list(wanted.values()))
    columns = {key: table.column(column) for key, column in wanted.items()}
    return {
        "": {
            key: _matrix(column) if key == VECTORS else _as_objects(column.to_pylist())
            for key, column in columns.items()
        }
    }


def _as_objects(column: Sequence[object]) -> Array:
    values = np.empty(len(column), dtype=object)
    values[:] = column
    return values


def _matrix(column: "pa.ChunkedArray") -> Array:
    """(n, d) values of a column of lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        raise InputError(VECTORS, "must contain a list of numbers in each row", str(kind))
    if column.null_count:
        raise InputError(VECTORS, f"{column.null_count} of {len(column)} rows have no vector")
    widths = sorted(pc.unique(pc.list_value_length(column)).to_pylist())
    if len(widths) > 1:
        raise InputError(VECTORS, "must be of one width in every row", widths)
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(values or [np.empty(0)]).reshape(len(column), *widths)
