from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fused_clip.dataset.encoded_table import read_split
from fused_clip.support.errors import InputError


def load(*files: Path, image: str = "img", label: str = "label"):
    return read_split(files, image, label, "pets/train")


def write(path: Path, image: pa.Array, label: pa.Array) -> Path:
    pq.write_table(pa.table({"img": image, "label": label}), path)
    return path


def png(path: Path) -> bytes:
    Image.new("L", (3, 2), 7).save(path)
    return path.read_bytes()


def test_pixels_labels_and_names_are_those_that_datasets_reads(tmp_path, hf_split):
    source = hf_split([2, 0, 1, 3, 0])
    source.to_parquet(tmp_path / "x.parquet")
    parent = load(tmp_path / "x.parquet")
    assert parent.names == ("cat", "dog", "cow", "hen")
    np.testing.assert_array_equal(parent.labels, [2, 0, 1, 3, 0])
    for ours, theirs in zip(parent.images.read(np.arange(5)), source["img"], strict=True):
        np.testing.assert_array_equal(ours, np.asarray(theirs))


def test_parts_and_row_groups_are_one_sequence(tmp_path, hf_split):
    source = hf_split([0, 1, 2, 3] * 5)
    source.to_parquet(tmp_path / "whole.parquet")
    source.select(range(7)).to_parquet(tmp_path / "a.parquet", batch_size=3)
    source.select(range(7, 20)).to_parquet(tmp_path / "b.parquet", batch_size=4)
    whole, parts = load(tmp_path / "whole.parquet"), load(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    assert whole.images.fingerprint == parts.images.fingerprint
    np.testing.assert_array_equal(whole.labels, parts.labels)
    rows = np.array([19, 0, 6, 7, 12])
    for one, other in zip(whole.images.read(rows), parts.images.read(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_arrow_files_of_the_cache_are_the_same_images(tmp_path, hf_split):
    source = hf_split([0, 1, 2, 3])
    source.to_parquet(tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    with pa.ipc.new_stream(tmp_path / "x.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=3)
    parquet, arrow = load(tmp_path / "x.parquet"), load(tmp_path / "x.arrow")
    assert parquet.images.fingerprint == arrow.images.fingerprint
    assert arrow.names == parquet.names
    assert len(list(arrow.images.read(np.arange(4)))) == 4


def test_plain_binaries_and_string_labels_are_read(tmp_path):
    cell = png(tmp_path / "a.png")
    file = write(tmp_path / "x.parquet", pa.array([cell] * 3), pa.array(["dog", "ape", "dog"]))
    parent = load(file)
    assert parent.names == ("ape", "dog")
    np.testing.assert_array_equal(parent.labels, [1, 0, 1])
    assert next(iter(parent.images.read(np.array([2])))).shape == (2, 3, 3)


def test_a_path_in_place_of_bytes_is_read_from_its_file(tmp_path):
    cell = png(tmp_path / "a.png")
    cells = [{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": cell, "path": None}]
    parent = load(write(tmp_path / "x.parquet", pa.array(cells), pa.array([0, 1])))
    first, second = parent.images.read(np.array([0, 1]))
    np.testing.assert_array_equal(first, second)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"image /.*/a\.png can't be read \(No such file or directory\)"):
        list(load(tmp_path / "x.parquet").images.read(np.array([0])))


@pytest.mark.parametrize("cells", [[None, {"bytes": b"x", "path": None}], [{"bytes": None, "path": None}]])
def test_a_row_without_an_image_is_refused(tmp_path, cells):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    file = write(tmp_path / "x.parquet", pa.array(cells, kind), pa.array(range(len(cells))))
    with pytest.raises(InputError, match=r"dataset\.image_column: 1 rows have no image"):
        list(load(file).images.read(np.array([0])))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": "image"}, r"dataset\.image_column: .*got 'image'; choose from: img, label"),
        ({"label": "lable"}, r"dataset\.label_column: .*did you mean 'label'"),
        ({"image": "label"}, r"dataset\.image_column: must hold encoded images, got 'label of type int64'"),
        ({"label": "img"}, r"dataset\.label_column: must hold integers or strings"),
    ],
)
def test_a_wrong_column_is_named(tmp_path, hf_split, columns, message):
    hf_split([0, 1]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "x.parquet", **columns)


def test_rows_without_a_label_are_refused(tmp_path, hf_split):
    hf_split([0, -1, 1]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"labels outside \[0, 4\); -1 means no label"):
        load(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="1 rows of pets/train have no label"):
        load(write(tmp_path / "y.parquet", pa.array([b"", b""]), pa.array([0, None])))


@pytest.mark.parametrize("keep", [0, 50, -10])
def test_a_damaged_file_is_named(tmp_path, hf_split, keep):
    file = tmp_path / "x.parquet"
    hf_split([0, 1]).to_parquet(file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"dataset: must be a readable Parquet file .*x\.parquet'"):
        load(file)
