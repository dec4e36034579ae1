from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.lib.format import open_memmap

from fused_clip.dataset import Vectors
from fused_clip.support import memory
from fused_clip.support.errors import InputError
from tests.loading import embeddings

LABELS = ["cat", "dog", "cat", "dog", "10", "2", "10", "2"]
ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
NARROW = ROWS[:, :2]
TEXTS = np.eye(3, dtype=np.float32)[:2]


def npz(file: Path, **arrays: Any) -> str:
    np.savez(file, **arrays)
    return str(file)


def parquet(file: Path, vectors: Any, **columns: Any) -> str:
    pq.write_table(pa.table({"vectors": [list(row) for row in vectors], **columns}), file)
    return str(file)


def vectors(split: Any) -> np.ndarray:
    assert isinstance(split.images, Vectors)
    return split.images.vectors[split.rows]


def test_one_table_is_split_by_test_fraction(tmp_path):
    dataset = embeddings(path=npz(tmp_path / "all.npz", vectors=ROWS, labels=LABELS), test_fraction=0.5)
    assert dataset.class_names == ("2", "10", "cat", "dog")
    for split in (dataset.train, dataset.test):
        rows = [int(name.removeprefix("all/")) for name in split.ids]
        np.testing.assert_array_equal(vectors(split), ROWS[rows])
        assert [dataset.class_names[label] for label in split.labels] == [LABELS[row] for row in rows]


def as_arrays(folder: Path) -> dict[str, Any]:
    arrays = {"train_vectors": ROWS[:6], "train_labels": LABELS[:6]}
    arrays |= {"test_vectors": ROWS[6:], "test_labels": LABELS[6:]}
    return {"path": npz(folder / "a.npz", **arrays, text_vectors=TEXTS, text_labels=["a cat", "a dog"])}


def as_a_split_array(folder: Path) -> dict[str, Any]:
    splits = ["train"] * 6 + ["test"] * 2
    texts = {"text_vectors": TEXTS, "text_labels": ["a cat", "a dog"]}
    path = npz(folder / "b.npz", vectors=ROWS, labels=LABELS, split=splits, **texts)
    return {"path": path, "split_column": "split"}


def as_a_parquet_column(folder: Path) -> dict[str, Any]:
    splits = ["train"] * 6 + ["test"] * 2 + ["text"] * 2 + ["val"]
    labels = [*LABELS, "a cat", "a dog", "owl"]
    rows = np.concatenate([ROWS, TEXTS, ROWS[:1]])
    return {"path": parquet(folder / "c.parquet", rows, labels=labels, split=splits), "split_column": "split"}


def as_two_files(folder: Path) -> dict[str, Any]:
    arrays = {
        "vectors": ROWS[:6],
        "labels": LABELS[:6],
        "text_vectors": TEXTS,
        "text_labels": ["a cat", "a dog"],
    }
    return {
        "path": npz(folder / "d.npz", **arrays),
        "test_path": parquet(folder / "e.parquet", ROWS[6:], labels=LABELS[6:]),
    }


@pytest.mark.parametrize("layout", [as_arrays, as_a_split_array, as_a_parquet_column, as_two_files])
def test_every_layout_holds_the_same(tmp_path, layout):
    dataset = embeddings(**layout(tmp_path))
    np.testing.assert_array_equal(vectors(dataset.train), ROWS[:6])
    np.testing.assert_array_equal(vectors(dataset.test), ROWS[6:])
    assert [dataset.class_names[label] for label in dataset.test.labels] == LABELS[6:]
    assert list(dataset.texts) == ["a cat", "a dog"]
    np.testing.assert_array_equal(np.stack(list(dataset.texts.values())), TEXTS)


def test_the_fingerprint_is_of_contents_not_of_the_file(tmp_path):
    first, second = (embeddings(**make(tmp_path)) for make in (as_arrays, as_a_parquet_column))
    assert first.fingerprint == second.fingerprint
    other = npz(tmp_path / "z.npz", vectors=ROWS + 1, labels=LABELS)
    same = npz(tmp_path / "y.npz", vectors=ROWS, labels=LABELS)
    assert (
        embeddings(path=other, test_fraction=0.5).fingerprint
        != embeddings(path=same, test_fraction=0.5).fingerprint
    )


def test_ids_name_the_rows(tmp_path):
    names = [f"photo {row}" for row in range(8)]
    path = npz(tmp_path / "a.npz", vectors=ROWS, labels=LABELS, names=names)
    dataset = embeddings(path=path, id_column="names", test_fraction=0.5)
    assert sorted([*dataset.train.ids, *dataset.test.ids]) == names
    path = npz(tmp_path / "b.npz", vectors=ROWS, labels=LABELS, names=[*names[:6], "photo 0", "photo 1"])
    with pytest.raises(
        InputError, match=r"dataset\.id_column: each name may stand once; 2 do not: photo 0; photo 1"
    ):
        embeddings(path=path, id_column="names")


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_any_real_numbers_become_float32(tmp_path, kind):
    rows = (ROWS * 10).astype(kind)
    dataset = embeddings(path=npz(tmp_path / "a.npz", vectors=rows, labels=LABELS), test_fraction=0.5)
    assert vectors(dataset.train).dtype == np.float32
    np.testing.assert_array_equal(
        vectors(dataset.test), rows[[int(i[2:]) for i in dataset.test.ids]].astype("f4")
    )


def test_there_are_no_pixels(tmp_path):
    dataset = embeddings(**as_arrays(tmp_path))
    with pytest.raises(InputError, match="has vectors, not images"):
        dataset.train.images.read(np.arange(2))


def spoilt(value: float, *rows: int) -> np.ndarray:
    bad = ROWS.copy()
    bad[list(rows)] = value
    return bad


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": spoilt(np.nan, 2, 5), "labels": LABELS}, r"2 of 8 are not: a/2; a/5"),
        ({"vectors": spoilt(np.inf, 1), "labels": LABELS}, r"1 of 8 are not: a/1"),
        ({"vectors": spoilt(0, 1), "labels": LABELS}, r"finite and not zero in every row; 1 of 8"),
        ({"vectors": ROWS.astype(np.float64) * 1e300, "labels": LABELS}, r"8 of 8 are not: .*; and 3 more"),
        ({"vectors": ROWS[0], "labels": LABELS[:3]}, r"a matrix of numbers.*float32 of shape \(3,\)"),
        ({"vectors": ROWS.astype(str), "labels": LABELS}, r"must contain a matrix of numbers"),
        ({"vectors": ROWS, "labels": LABELS[:7]}, r"one value for each of the 8 vectors, has shape \(7,\)"),
        ({"vectors": ROWS, "labels": ROWS[:, 0]}, r"label_column: must contain text or whole numbers, got"),
        ({"vectors": ROWS, "labels": ["a"] * 8}, r"label_column: must contain two classes .* got \['a'\]"),
        ({"vectors": ROWS, "label": LABELS}, r"label_column: must be a column .*: vectors, label"),
        ({"rows": ROWS, "labels": LABELS}, r"vector_column: must be a column .*choose from: rows, labels"),
        ({"train_vectors": ROWS, "train_labels": LABELS}, r"'train' and 'test', or of no .*\['train'\]"),
        ({"vectors": ROWS, "labels": np.array([None] * 8)}, r"readable \.npz or Parquet file \(ValueError"),
        (
            {"train_vectors": ROWS, "train_labels": LABELS, "test_vectors": NARROW, "test_labels": LABELS},
            r"one width, and these are not \(train: 3, test: 2\)",
        ),
        (
            {"vectors": ROWS, "labels": LABELS, "text_vectors": np.eye(4), "text_labels": list("abcd")},
            r"one width, and these are not \(train: 3, test: 3, text: 4\)",
        ),
        (
            {"vectors": ROWS, "labels": LABELS, "text_vectors": TEXTS, "text_labels": ["a", "a"]},
            r"each text may stand once; 1 do not: a",
        ),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_are_refused(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        embeddings(path=npz(tmp_path / "a.npz", **arrays))


def test_parquet_columns_that_cannot_be_are_refused(tmp_path):
    file = tmp_path / "a.parquet"

    def message(**columns: Any) -> str:
        pq.write_table(pa.table(columns), file)
        with pytest.raises(InputError) as caught:
            embeddings(path=str(file))
        return str(caught.value)

    assert "one width in every row, got [2, 3]" in message(vectors=[[1.0, 2], [1, 2, 3]], labels=["a", "b"])
    assert "1 of 2 rows have no vector" in message(vectors=[[1.0], None], labels=["a", "b"])
    assert "1 of 2 are not: a/1" in message(vectors=[[1.0], [None]], labels=["a", "b"])
    assert "must contain a list of numbers" in message(vectors=["x", "y"], labels=["a", "b"])
    assert "1 of 2 rows have no value (rows 1" in message(vectors=[[1.0], [2.0]], labels=["a", None])
    assert "must be a column" in message(vectors=[[1.0], [2.0]], label=["a", "b"])


def test_a_damaged_file_is_refused(tmp_path):
    path = Path(npz(tmp_path / "a.npz", vectors=ROWS, labels=LABELS))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"dataset\.path: must be a readable \.npz or Parquet file"):
        embeddings(path=str(path))
    with pytest.raises(InputError, match=r"dataset\.path: must be an existing file"):
        embeddings(path=str(tmp_path / "none.npz"))


def test_two_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = {}
    for split, rows in (("train", slice(0, 6)), ("test", slice(6, 8))):
        (tmp_path / split).mkdir()
        paths[split] = npz(tmp_path / split / "vectors.npz", vectors=ROWS[rows], labels=LABELS[rows])
    dataset = embeddings(path=paths["train"], test_path=paths["test"])
    assert dataset.train.ids[:2] == ["train/vectors/0", "train/vectors/1"]
    assert dataset.test.ids == ["test/vectors/0", "test/vectors/1"]
    with pytest.raises(InputError, match=r"dataset\.test_path: must be another file than dataset\.path"):
        embeddings(path=paths["train"], test_path=str(tmp_path / "test" / ".." / "train" / "vectors.npz"))
    for split, names in (("train", list("abcdef")), ("test", list("ag"))):
        rows = slice(0, 6) if split == "train" else slice(6, 8)
        npz(tmp_path / split / "vectors.npz", vectors=ROWS[rows], labels=LABELS[rows], names=names)
    with pytest.raises(InputError, match=r"dataset\.id_column: each name may stand once; 1 do not: a"):
        embeddings(path=paths["train"], test_path=paths["test"], id_column="names")


def test_an_odd_second_file_is_refused(tmp_path):
    good = npz(tmp_path / "a.npz", vectors=ROWS, labels=LABELS)
    only_train = npz(tmp_path / "b.npz", train_vectors=ROWS, train_labels=LABELS)
    with pytest.raises(
        InputError, match=r"dataset\.test_path: must contain rows of the split 'test', got \['train'\]"
    ):
        embeddings(path=good, test_path=only_train)
    with pytest.raises(InputError, match=r"dataset\.split_column: must be null when dataset"):
        embeddings(path=good, test_path=good, split_column="split")


def npy(file: Path, values: Any) -> str:
    np.save(file, values)
    return str(file)


def beside_npz(folder: Path) -> str:
    texts = {"text_vectors": TEXTS, "text_labels": ["a cat", "a dog"]}
    return npz(folder / "beside.npz", labels=LABELS, **texts)


def beside_npy(folder: Path) -> str:
    return npy(folder / "beside.npy", np.array(LABELS))


def beside_csv(folder: Path) -> str:
    (folder / "beside.csv").write_text("\n".join(["labels", *LABELS]))
    return str(folder / "beside.csv")


def beside_parquet(folder: Path) -> str:
    pq.write_table(pa.table({"labels": LABELS}), folder / "beside.parquet")
    return str(folder / "beside.parquet")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("beside", [beside_npz, beside_npy, beside_csv, beside_parquet])
def test_rows_of_a_npy_file_are_as_those_of_an_npz_file(tmp_path, beside, kind):
    rows = ROWS.astype(kind)
    whole = embeddings(path=npz(tmp_path / "all.npz", vectors=rows, labels=LABELS), test_fraction=0.5)
    path, labels_path = npy(tmp_path / "all.npy", rows), beside(tmp_path)
    dataset = embeddings(path=path, labels_path=labels_path, test_fraction=0.5)
    assert dataset.fingerprint == whole.fingerprint
    assert dataset.train.ids == whole.train.ids
    for ours, theirs in ((dataset.train, whole.train), (dataset.test, whole.test)):
        assert vectors(ours).dtype == np.float32
        np.testing.assert_array_equal(vectors(ours), vectors(theirs))
    assert list(dataset.texts) == (["a cat", "a dog"] if beside is beside_npz else [])


def test_two_npy_files_and_splits_of_a_table(tmp_path):
    parts = [npy(tmp_path / f"{name}.npy", rows) for name, rows in (("a", ROWS[:6]), ("b", ROWS[6:]))]
    labels = [
        npy(tmp_path / f"l{name}.npy", LABELS[part]) for name, part in ((0, slice(6)), (1, slice(6, 8)))
    ]
    files = {"path": parts[0], "labels_path": labels[0], "test_path": parts[1], "test_labels_path": labels[1]}
    pair = embeddings(**files)
    np.testing.assert_array_equal(vectors(pair.test), ROWS[6:])
    table = pa.table({"labels": LABELS, "split": ["train"] * 6 + ["test"] * 2, "id": list("abcdefgh")})
    pq.write_table(table, tmp_path / "t.parquet")
    columns = {"split_column": "split", "id_column": "id", "labels_path": str(tmp_path / "t.parquet")}
    split = embeddings(path=npy(tmp_path / "all.npy", ROWS), **columns)
    np.testing.assert_array_equal(vectors(split.test), ROWS[6:])
    assert split.test.ids == ["g", "h"]
    assert pair.fingerprint == split.fingerprint


def test_rows_of_a_npy_file_need_no_labels(tmp_path):
    path = npy(tmp_path / "all.npy", ROWS)
    dataset = embeddings(path=path, labels="none", classes=["cat", "dog"], test_fraction=0.5)
    assert not dataset.labelled
    assert len(vectors(dataset.train)) == 4


def of_whole_numbers(file: Path) -> None:
    np.save(file, ROWS.astype(np.int64))


def of_column_order(file: Path) -> None:
    np.save(file, np.asfortranarray(ROWS))


def of_one_axis(file: Path) -> None:
    np.save(file, ROWS[:, 0])


def without_rows(file: Path) -> None:
    np.save(file, ROWS[:0])


def cut_off(file: Path) -> None:
    np.save(file, ROWS)
    file.write_bytes(file.read_bytes()[:-5])


def of_text(file: Path) -> None:
    file.write_text("0.1,0.2\n")


def of_objects(file: Path) -> None:
    np.save(file, np.array([{}], dtype=object))


def with_an_infinite_row(file: Path) -> None:
    np.save(file, np.where(np.arange(8)[:, None] == 3, np.inf, ROWS))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (of_whole_numbers, "must be of float16, float32 or float64, got 'int64'. Convert it with"),
        (of_column_order, "must be in C order, row by row, got 'Fortran order'"),
        (of_one_axis, r"must be a matrix, one row an image, got 'shape \(8,\)'"),
        (without_rows, r"must be a matrix, one row an image, got 'shape \(0, 3\)'"),
        (cut_off, "must be a whole .npy file of numbers"),
        (of_text, "must be a whole .npy file of numbers"),
        (of_objects, "must be a whole .npy file of numbers"),
        (with_an_infinite_row, "must be finite and not zero in every row; 1 of 8 are not: all/3"),
    ],
)
def test_a_npy_file_that_can_not_be_used_is_refused(tmp_path, write, message):
    write(tmp_path / "all.npy")
    with pytest.raises(InputError, match=message):
        embeddings(path=str(tmp_path / "all.npy"), labels_path=beside_npy(tmp_path))


def test_labels_beside_must_fit_the_rows(tmp_path):
    path, labels = npy(tmp_path / "all.npy", ROWS), beside_npy(tmp_path)
    with pytest.raises(InputError, match=r"labels_path: must name the file with the labels of dataset.path"):
        embeddings(path=path)
    with pytest.raises(InputError, match=r"must contain one value for each of the 8 vectors, has shape"):
        embeddings(path=path, labels_path=npy(tmp_path / "few.npy", LABELS[:7]))
    with pytest.raises(InputError, match=r"id_column: must be null where dataset.labels_path is a .npy file"):
        embeddings(path=path, labels_path=labels, id_column="id")
    with pytest.raises(InputError, match=r"labels_path: must be null unless dataset.path is a .npy file"):
        embeddings(path=npz(tmp_path / "z.npz", vectors=ROWS, labels=LABELS), labels_path=labels)
    with pytest.raises(InputError, match=r"test_labels_path: goes with dataset.test_path"):
        embeddings(path=path, labels_path=labels, test_labels_path=labels)
    (tmp_path / "bad.npy").write_text("no array")
    with pytest.raises(InputError, match=r"labels_path: must be a readable .npy file of text"):
        embeddings(path=path, labels_path=str(tmp_path / "bad.npy"))


def test_a_npy_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = npy(tmp_path / "all.npy", ROWS)
    dataset = embeddings(path=path, labels_path=beside_npy(tmp_path), test_fraction=0.5)
    np.save(path, NARROW)
    with pytest.raises(InputError, match=r"must stay as it is while a run reads it"):
        vectors(dataset.train)


def many_rows(file: Path) -> str:
    """Ten million rows of 512 numbers, 20 GB, of which the file system stores none."""
    open_memmap(file, mode="w+", dtype=np.float32, shape=(10_000_000, 512)).flush()
    return str(file)


@pytest.fixture
def with_8_gb(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 8_000_000_000)


@pytest.mark.usefixtures("with_8_gb")
def test_rows_that_memory_can_not_take_are_refused_before_they_are_read(tmp_path):
    path = many_rows(tmp_path / "many.npy")
    message = (
        r"memory: 10,000,000 rows of dataset\.path take at least 41\.0 GB, and 8\.0 GB are free\."
        r" Use fewer rows \(dataset\.n_train and dataset\.n_test\)$"
    )
    with pytest.raises(InputError, match=message):
        embeddings(path=path, labels="none", classes=["cat", "dog"], n_train=10_000)


@pytest.mark.usefixtures("with_8_gb")
def test_a_file_that_is_read_whole_must_fit_in_memory(tmp_path, monkeypatch):
    files = [
        npz(tmp_path / "all.npz", vectors=ROWS, labels=LABELS),
        parquet(tmp_path / "all.parquet", ROWS, labels=LABELS),
    ]
    for file in files:
        assert len(embeddings(path=file, test_fraction=0.5).train) == 4
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    for file, noun in zip(files, ("arrays", "columns"), strict=True):
        message = rf"memory: the {noun} of dataset\.path take at least 0 MB, and 0 MB are free"
        with pytest.raises(InputError, match=message):
            embeddings(path=file, test_fraction=0.5)


def test_few_of_many_rows_need_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    rows = np.random.default_rng(0).normal(size=(4000, 3))
    labels_path = npy(tmp_path / "labels.npy", np.arange(4000) % 2)
    files = {"path": npy(tmp_path / "many.npy", rows), "labels_path": labels_path}
    dataset = embeddings(**files, n_train=10, n_test=4)
    assert (len(dataset.train), len(dataset.test)) == (10, 4)
    with pytest.raises(InputError, match=r"memory: 4,000 rows of dataset\.path take at least"):
        embeddings(**files, n_train=10)
