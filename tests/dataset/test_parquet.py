import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fused_clip.dataset.parquet import ParquetTable
from fused_clip.support.errors import InputError


@pytest.fixture
def table(tmp_path):
    folder = tmp_path / "kind=cat"  # which pq.read_table takes for a column
    folder.mkdir()
    columns = pa.table({"a": range(150), "b": [str(row) for row in range(150)]})
    pq.write_table(columns, folder / "x.parquet", row_group_size=100)
    return ParquetTable("data", folder / "x.parquet")


def test_columns_are_read_whole_by_group_and_by_cell(table):
    assert table.schema.names == ["a", "b"]
    assert table.group_sizes == [100, 50]
    whole = table.read(["b", "a", "b"])
    assert sorted(whole.column_names) == ["a", "b"]
    assert whole.column("a").to_pylist() == list(range(150))
    assert table.group(1, "a").to_pylist() == list(range(100, 150))
    assert list(table.cells("b")) == [str(row) for row in range(150)]


def test_bytes_of_columns_whose_names_have_dots(tmp_path):
    vectors = pa.array([[1.0, 2.0]] * 1_000)
    pq.write_table(pa.table({"clip.vec": vectors, "clip": vectors, "vec": vectors}), tmp_path / "x.parquet")
    table = ParquetTable("data", tmp_path / "x.parquet")
    assert table.bytes_of(["clip.vec"]) == pytest.approx(table.bytes_of(["vec"]), rel=0.1)
    assert table.bytes_of(["vec"]) > 0


@pytest.mark.parametrize("use", [lambda t: t.schema, lambda t: t.read(["a"]), lambda t: next(t.cells("a"))])
def test_a_damaged_file_is_named(table, use):
    table.file.write_bytes(table.file.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"^data: must be a readable Parquet file \(.*x\.parquet'$"):
        use(table)


def test_text_that_is_no_utf8_is_refused(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["abcdef", "b"]}), file, compression="none", use_dictionary=False)
    file.write_bytes(file.read_bytes().replace(b"abcdef", b"abc\x80ef"))
    table = ParquetTable("dataset.path", file)
    for read in (
        lambda: table.read(["text"]),
        lambda: table.group(0, "text"),
        lambda: list(table.cells("text")),
    ):
        with pytest.raises(InputError, match=r"dataset\.path: must be a readable Parquet file"):
            read()


def test_names_of_columns_that_are_no_utf8_are_refused(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"abcdef": [{"inner": 1}]}), file, store_schema=False)
    for name in (b"abcdef", b"inner"):
        broken = tmp_path / "b.parquet"
        broken.write_bytes(file.read_bytes().replace(name, b"\x80" + name[1:]))
        with pytest.raises(InputError, match="must be a readable Parquet file"):
            assert ParquetTable("dataset.path", broken).schema
