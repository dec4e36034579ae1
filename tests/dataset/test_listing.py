from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fused_clip.dataset.columns import as_texts
from fused_clip.support.errors import InputError
from tests.loading import csv


def paint(folder: Path, names: list[str]) -> None:
    """Write an image for each name; its grey is its number."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5 + number % 3, 4), number).save(folder / name)


NAMES = [f"{number}.png" for number in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint(tmp_path / "photos", NAMES)
    return tmp_path / "photos"


def table(file: Path, rows: list[str], header: str = "path,label") -> str:
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(file)


def test_rows_labels_and_pixels_belong_together(folder):
    path = table(folder / "all.csv", [f"{name},{'cat' if int(name[0]) < 4 else 'dog'}" for name in NAMES])
    dataset = csv(path=path, test_fraction=0.25)
    assert dataset.class_names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (6, 2)
    assert dataset.source == f"table {path}"
    for split in (dataset.train, dataset.test):
        assert split.origin == "user"
        for name, label, pixels in zip(split.ids, split.labels, split.images.read(split.rows), strict=True):
            assert pixels[0, 0, 0] == int(name[0])
            assert label == (int(name[0]) >= 4)


@pytest.mark.parametrize(
    ("suffix", "mark"), [(".csv", ","), (".csv", ";"), (".csv", "\t"), (".tsv", "\t"), (".parquet", "")]
)
def test_labels_are_text_whatever_the_table(folder, suffix, mark):
    labels = ["0", "00", "10", "2", "0", "00", "10", "2"]
    file = folder / f"all{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"path": NAMES, "label": labels}), file)
    else:
        rows = [f"{name}{mark}{label}" for name, label in zip(NAMES, labels, strict=True)]
        table(file, rows, f"path{mark}label")
    dataset = csv(path=str(file), test_fraction=0.5)
    assert dataset.class_names == ("0", "00", "2", "10")
    assert all(set(split.labels) == {0, 1, 2, 3} for split in (dataset.train, dataset.test))


def test_numbers_and_their_digits_are_one_class(folder):
    numbers = pa.table({"path": NAMES[:4], "label": [0, 1, 0, 1]})
    pq.write_table(numbers, folder / "train.parquet")
    test = table(folder / "test.csv", ["4.png,1", "5.png,0"])
    dataset = csv(path=str(folder / "train.parquet"), test_path=test, groups={"even": ["0"], "odd": [1]})
    assert dataset.class_names == ("0", "1")
    assert dataset.test.labels.tolist() == [1, 0]
    assert dataset.groups == {"0": "even", "1": "odd"}


def test_a_column_says_the_split_and_other_rows_are_left_out(folder):
    folds = ["a", "b", "val", "a", "b", "a", "b", "a"]
    rows = [f"{name},{int(name[0]) % 2},{fold}" for name, fold in zip(NAMES, folds, strict=True)]
    path = table(folder / "all.csv", rows, "file,kind,fold")
    columns = {"image_column": "file", "label_column": "kind", "split_column": "fold"}
    dataset = csv(path=path, train_split="a", test_split="b", **columns)
    assert dataset.train.ids == ["0.png", "3.png", "5.png", "7.png"]
    assert dataset.test.ids == ["1.png", "4.png", "6.png"]
    assert dataset.test.labels.tolist() == [1, 0, 0]
    with pytest.raises(
        InputError, match=r"dataset\.split_column: every split .*'train'; choose from: a, b, val"
    ):
        csv(path=path, **columns)


@pytest.mark.parametrize(
    "name", ["../secret.png", "{}/secret.png", "a/../../secret.png", "link.png", "up/secret.png"]
)
def test_paths_stay_in_the_folder_of_the_table_or_in_root(folder, tmp_path, name):
    paint(tmp_path, ["secret.png"])
    (folder / "a").mkdir()
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "up").symlink_to("..")
    rows = [*(f"{name},{int(name[0]) % 2}" for name in NAMES), f"{name.format(tmp_path)},1"]
    own = {"path": table(folder / "all.csv", rows), "test_fraction": 0.5}
    message = (
        r"^dataset\.image_column: must be inside .*png'\. dataset\.root=FOLDER .* dataset\.outside_root=true"
    )
    with pytest.raises(InputError, match=message):
        csv(**own)
    assert len(csv(**own, outside_root=True).train.images) == len(NAMES) + 1
    if not name.startswith("{"):  # from the root that was named, the paths are others
        return
    assert len(csv(**own, root=str(folder), outside_root=True).train.images) == len(NAMES) + 1


def test_relative_paths_start_beside_the_table_or_in_root(folder, tmp_path):
    rows = [f"{name},{int(name[0]) % 2}" for name in NAMES]
    beside = csv(path=table(folder / "all.csv", rows), test_fraction=0.5)
    elsewhere = csv(path=table(tmp_path / "all.csv", rows), root=str(folder), test_fraction=0.5)
    whole = [f"{folder / name},{int(name[0]) % 2}" for name in NAMES]
    absolute = csv(path=table(tmp_path / "whole.csv", whole), test_fraction=0.5)
    assert beside.fingerprint == elsewhere.fingerprint == absolute.fingerprint
    with pytest.raises(InputError, match=r"dataset\.root: must be an existing folder"):
        csv(path=str(tmp_path / "all.csv"), root=str(tmp_path / "nowhere"))


def test_names_come_through_whatever_they_are(tmp_path):
    labels = ["<script>alert(1)</script>", "a=b [c]", "cafe\u0301", "$x^2$", "yes/no", 'the "one", two']
    names = [f"{start} é=[{number}], x.png" for number in range(6) for start in ("a", "b")]
    paint(tmp_path, names)
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    rows = [f'"{name}", {quoted[number // 2]}' for number, name in enumerate(names)]
    dataset = csv(path=table(tmp_path / "a b=[1].csv", rows, "\ufeffpath,label"), test_fraction=0.5)
    assert set(dataset.class_names) == {"café", *labels} - {"cafe\u0301"}
    assert set(dataset.train.ids) | set(dataset.test.ids) == set(names)


def test_an_image_listed_twice_is_refused(folder):
    rows = ["0.png,a", "1.png,b", "0.png,a", "0.png,b", "2.png,a", "3.png,b"]
    with pytest.raises(InputError, match=r"each image may stand once; 1 do not: /.*/photos/0\.png$"):
        csv(path=table(folder / "all.csv", rows))
    test = table(folder / "test.csv", ["0.png,a", "1.png,b"])
    with pytest.raises(InputError, match=r"2 do not: /.*/0\.png; /.*/1\.png"):
        csv(path=table(folder / "train.csv", ["0.png,a", "1.png,b"]), test_path=test)


def test_a_name_that_no_file_can_have_is_left_out(folder):
    names = pa.table({"path": [*NAMES[:4], "4\0.png"], "label": list("ababa")})
    pq.write_table(names, folder / "all.parquet")
    dataset = csv(path=str(folder / "all.parquet"), on_bad_image="skip", test_fraction=0.5)
    assert dataset.skipped == ("4\0.png",)


@pytest.mark.parametrize("other", ["./0.png", "../photos/0.png", "{folder}/0.png"])
def test_an_image_is_the_same_however_its_path_is_written(folder, other):
    rows = ["0.png,a", "1.png,b", f"{other.format(folder=folder)},b"]
    with pytest.raises(InputError, match=r"each image may stand once; 1 do not: /.*/photos/0\.png$"):
        csv(path=table(folder / "all.csv", rows))


def test_two_tables_may_list_the_same_names_in_folders_of_their_own(tmp_path):
    paths = {}
    for split, names in (("train", NAMES[:4]), ("test", NAMES[:2])):
        paint(tmp_path / split, names)
        rows = [f"{name},{int(name[0]) % 2}" for name in names]
        paths[split] = table(tmp_path / split / "list.csv", rows)
    dataset = csv(path=paths["train"], test_path=paths["test"])
    assert dataset.train.ids == ["train/0.png", "train/1.png", "train/2.png", "train/3.png"]
    assert dataset.test.ids == ["test/0.png", "test/1.png"]


def test_paths_that_do_not_exist_are_named_and_counted(folder):
    rows = [f"{name},{int(name[0]) % 2}" for name in [*NAMES, *(f"9{number}.png" for number in range(7))]]
    path = table(folder / "all.csv", rows)
    with pytest.raises(InputError, match=r"7 of 15 images are not there: 90\.png; .*94\.png; and 2 more"):
        csv(path=path)
    dataset = csv(path=path, on_bad_image="skip", test_fraction=0.5)
    assert dataset.skipped == tuple(f"9{number}.png" for number in range(7))
    assert len(dataset.train) + len(dataset.test) == 8


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            ["0.png,a"],
            "file,label",
            r"dataset\.image_column: must be a column .*'path'; choose from: file, label",
        ),
        (
            ["0.png;a"],
            "file;label",
            r"dataset\.image_column: .*, read with semicolons as .*'path'; choose from: file, label",
        ),
        (
            ["0.png,a"],
            "path,kind",
            r"dataset\.label_column: must be a column .*'label'; choose from: path, kind",
        ),
        (
            ["0.png,a", "1.png,a"],
            "path,label",
            r"dataset\.label_column: must contain two classes or more, got \['a'\]",
        ),
        ([], "path,label", r"dataset\.path: must have a row"),
        (["0.png,a", "1.png", "2.png,b"], "path,label", r"2 values in every line, .* not so in line 3"),
        (["0.png,a", "1.png,", "2.png,"], "path,label", r"2 of 3 rows have no value \(rows 1; 2, from 0\)"),
        (['0.png,"a'], "path,label", r"must be a readable table in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_is_refused(folder, rows, header, message):
    with pytest.raises(InputError, match=message):
        csv(path=table(folder / "all.csv", rows, header))


def test_rows_without_a_label_are_trained_on_and_answered(folder):
    path = table(folder / "all.csv", ["0.png,a", "1.png,", "2.png,b", "3.png,"])
    with pytest.raises(InputError, match=r"2 of 4 rows .*dataset\.labels=some takes them"):
        csv(path=path)
    dataset = csv(path=path, labels="some")
    assert dataset.class_names == ("a", "b")
    assert dataset.train.ids == ["0.png", "1.png", "2.png", "3.png"]
    assert dataset.train.labels.tolist() == [0, -1, 1, -1]
    assert dataset.test.ids == ["1.png", "3.png"]
    assert dataset.test.labels.tolist() == [-1, -1]
    assert (dataset.labelled, dataset.has_labels) == (False, True)


def test_a_test_split_of_its_own_stays_beside_rows_without_a_label(folder):
    rows = ["0.png,a,train", "1.png,b,train", "2.png,,train", "3.png,b,test", "4.png,c,train"]
    path = table(folder / "all.csv", rows, "path,label,split")
    dataset = csv(path=path, labels="some", split_column="split", class_names=["b", "a"])
    assert dataset.train.ids == ["0.png", "1.png", "2.png"], "c is not chosen"
    assert dataset.train.labels.tolist() == [1, 0, -1]
    assert (dataset.test.ids, dataset.test.labels.tolist()) == (["3.png"], [0])


def test_some_labels_need_an_image_without_one(folder):
    path = table(folder / "all.csv", ["0.png,a", "1.png,b"])
    with pytest.raises(InputError, match=r"dataset\.labels: 'some' needs images without a label"):
        csv(path=path, labels="some")


def test_labels_in_one_split_only_are_refused(folder):
    train = table(folder / "train.csv", ["0.png,a", "1.png,b"])
    with pytest.raises(InputError, match=r"dataset\.label_column: 2 of 2 rows have no value"):
        csv(path=train, test_path=table(folder / "test.csv", ["2.png,", "3.png,"]))
    with pytest.raises(InputError, match=r"train and test must have a class in common"):
        csv(path=train, test_path=table(folder / "other.csv", ["2.png,c", "3.png,d"]))


def test_a_file_that_is_no_table_is_refused(folder):
    for options, message in (
        ({}, r"dataset\.path: must name a file, got None"),
        ({"path": str(folder / "none.csv")}, r"dataset\.path: must be an existing file"),
        ({"path": str(folder / "0.png")}, r"dataset\.path: must be a readable table in UTF-8"),
        ({"path": str(folder / "bad.parquet")}, r"dataset\.path: must be a readable Parquet file"),
    ):
        (folder / "bad.parquet").write_bytes(b"PAR1 not")
        with pytest.raises(InputError, match=message):
            csv(**options)
    good = table(folder / "all.csv", ["0.png,a", "1.png,b"])
    with pytest.raises(InputError, match=r"dataset\.test_path: must be an existing file"):
        csv(path=good, test_path="nowhere.csv")
    with pytest.raises(InputError, match=r"dataset\.split_column: must be null when dataset\.test_path"):
        csv(path=good, test_path=good, split_column="split")


def test_what_is_no_name_is_refused():
    assert as_texts("x", ["a", 0, "00"]) == ["a", "0", "00"]
    for value in (1.0, True, b"cat"):
        with pytest.raises(InputError, match="x: must contain text or whole numbers"):
            as_texts("x", ["a", value])


KINDS = st.sampled_from(["good", "empty", "text", "cut", "gone"])


@given(kinds=st.lists(KINDS, min_size=6, max_size=20), seed=st.integers(0, 5))
def test_rows_stay_aligned_whatever_is_skipped(tmp_path_factory, kinds, seed):
    """Each image's grey and name say its label, before and after bad ones are left out."""
    folder = tmp_path_factory.mktemp("mixed")
    kinds = ["good"] * 4 + kinds
    names = [f"{number:02}.png" for number in range(len(kinds))]
    paint(folder, names)
    for name, kind in zip(names, kinds, strict=True):
        file = folder / name
        content = {"empty": b"", "text": b"<html>", "cut": file.read_bytes()[:-20]}.get(kind)
        if content is not None:
            file.write_bytes(content)
        elif kind == "gone":
            file.unlink()
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    dataset = csv(path=table(folder / "all.csv", rows), on_bad_image="skip", test_fraction=0.5, seed=seed)
    bad = tuple(name for name, kind in zip(names, kinds, strict=True) if kind != "good")
    assert dataset.skipped == bad
    assert sorted([*dataset.train.ids, *dataset.test.ids, *bad]) == names
    for split in (dataset.train, dataset.test):
        greys = np.array([image[0, 0, 0] for image in split.images.read(split.rows)])
        np.testing.assert_array_equal(greys, [int(name[:2]) for name in split.ids])
        np.testing.assert_array_equal(greys % 2, split.labels)
