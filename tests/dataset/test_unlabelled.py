"""Images and vectors of which no label is known, or none is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fused_clip.dataset import ImageDataset, Vectors
from fused_clip.support.errors import InputError
from tests.loading import csv, digits, embeddings, imagefolder

NONE: dict[str, Any] = {"labels": "none", "classes": ["cat", "dog"]}
ROWS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


def paint(folder: Path, *names: str) -> str:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(folder / name)
    return str(folder)


def names(dataset: ImageDataset) -> list[str]:
    return sorted([*dataset.train.ids, *dataset.test.ids])


def test_a_flat_folder_is_split_by_seed(tmp_path):
    root = paint(tmp_path, *(f"{number}.png" for number in range(10)))
    first, again, other = (imagefolder(root=root, **NONE, seed=seed, test_fraction=0.3) for seed in (0, 0, 1))
    assert first.class_names == ("cat", "dog")
    assert (len(first.train), len(first.test)) == (7, 3)
    assert not first.labelled
    assert set(first.train.labels) | set(first.test.labels) == {-1}
    assert names(first) == [f"{number}.png" for number in range(10)]
    assert first.test.ids == again.test.ids != other.test.ids
    small = imagefolder(root=root, **NONE, n_train=4, n_test=1)
    assert (len(small.train), len(small.test)) == (4, 1)


def test_folders_do_not_count_unless_they_are_splits(tmp_path):
    files = ("a/1.png", "a/b/2.png", "3.png", ".hidden/4.png", "__MACOSX/5.png", "a/.6.png")
    assert names(imagefolder(root=paint(tmp_path / "one", *files), **NONE, test_fraction=0.4)) == [
        "3.png",
        "a/1.png",
        "a/b/2.png",
    ]
    two = imagefolder(root=paint(tmp_path / "two", "train/1.png", "train/x/2.png", "test/3.png"), **NONE)
    assert two.train.ids == ["train/1.png", "train/x/2.png"]
    assert two.test.ids == ["test/3.png"]


def test_a_table_needs_no_label_column(tmp_path):
    paint(tmp_path, *(f"{number}.png" for number in range(6)))
    (tmp_path / "all.csv").write_text(
        "path,split\n" + "".join(f"{n}.png,{'test' if n > 3 else 'train'}\n" for n in range(6))
    )
    dataset = csv(path=str(tmp_path / "all.csv"), split_column="split", **NONE)
    assert (dataset.train.labels.tolist(), dataset.test.ids) == ([-1] * 4, ["4.png", "5.png"])


def without(folder: Path) -> dict[str, Any]:
    np.savez(folder / "a.npz", vectors=ROWS, text_vectors=np.eye(3)[:2], text_labels=["a", "b"])
    return {"path": str(folder / "a.npz")}


def with_labels(folder: Path) -> dict[str, Any]:
    np.savez(
        folder / "a.npz", vectors=ROWS, labels=[1.5] * 10, text_vectors=np.eye(3)[:2], text_labels=["a", "b"]
    )
    return {"path": str(folder / "a.npz")}


def in_parquet(folder: Path) -> dict[str, Any]:
    columns = {
        "vectors": [*map(list, ROWS), [1.0, 0, 0], [0.0, 1, 0]],
        "labels": [None] * 10 + ["a", "b"],
        "split": ["train"] * 6 + ["test"] * 4 + ["text"] * 2,
    }
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return {"path": str(folder / "a.parquet"), "split_column": "split"}


@pytest.mark.parametrize("layout", [without, with_labels, in_parquet])
def test_vectors_need_no_labels_and_texts_keep_theirs(tmp_path, layout):
    dataset = embeddings(**layout(tmp_path), **NONE)
    assert not dataset.labelled
    assert list(dataset.texts) == ["a", "b"]
    assert isinstance(dataset.train.images, Vectors)
    assert len(dataset.train) + len(dataset.test) == 10


def test_parquet_without_a_label_column(tmp_path):
    pq.write_table(pa.table({"vectors": list(map(list, ROWS))}), tmp_path / "a.parquet")
    assert not embeddings(path=str(tmp_path / "a.parquet"), **NONE).labelled


def test_labels_that_are_there_are_not_read():
    dataset = digits(labels="none", classes=list("0123456789"), groups={"even": list("02468")})
    assert not dataset.labelled
    assert dataset.groups == dict.fromkeys("02468", "even")
    assert len(dataset.train) == 1438


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "none"}, r"dataset\.classes: must name the possible classes .*'dataset\.classes=\[cat,"),
        ({"labels": "none", "classes": ["cat"]}, r"dataset\.classes: must be two classes or more"),
        ({"labels": "none", "classes": ["cat", "cat"]}, r"dataset\.classes: must be distinct"),
        ({"classes": ["cat", "dog"]}, r"dataset\.classes: goes with dataset\.labels=none"),
        ({**NONE, "display_names": {"cat": "tabby"}}, r"dataset\.display_names: .*needs labels"),
        ({**NONE, "groups": {"pet": ["cow"]}}, r"dataset\.groups\.pet: must list classes .*'cow'"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        digits(**options)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"dataset\.root: must contain an image"):
        imagefolder(root=str(tmp_path), **NONE)
