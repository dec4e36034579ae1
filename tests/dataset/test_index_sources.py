"""An index has the rows of the dataset, in their order."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_index import ImageIndex
from fused_clip.dataset.index_sources import index_of
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError
from tests import loading
from tests.dataset.tars import pack, png, shards

NONE: dict[str, Any] = {"labels": "none", "classes": ["cat", "dog"]}


def listed(function: str, folder: Path, **options: Any) -> dict[str, ImageIndex]:
    given = {"name": function, **loading.COLUMNS.get(function, {}), **options}
    data_dir = given.pop("data_dir", None)
    shared = {key: given.pop(key) for key in list(given) if key in Recipe.model_fields}
    return index_of(f"fused_clip.dataset.{function}", Recipe(**shared), given, data_dir, folder)


def assert_same(dataset: ImageDataset, indexes: dict[str, ImageIndex]) -> None:
    """Names, pixels and contents of each parent sequence are those of its index."""
    parents = {id(split.images): split.images for split in dataset.splits}
    assert len(parents) == len(indexes)
    for images, index in zip(parents.values(), indexes.values(), strict=True):
        rows = np.arange(len(images))
        assert len(index) == len(images)
        assert index.ids(rows) == images.ids(rows)
        digests = []
        for pixels, (read, digest) in zip(images.read(rows), index.read_with_digests(rows), strict=True):
            np.testing.assert_array_equal(read, pixels)
            digests.append(digest)
        assert hashlib.sha256(b"".join(digests)).hexdigest() == images.fingerprint
        assert [hashlib.sha256(one).digest() for one in index.contents(0, len(index))] == digests


def paint(root: Path, *names: str) -> str:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number % 256).save(root / name, "PNG")
    return str(root)


def paint_classes(root: Path, *parts: str) -> str:
    return paint(
        root, *(f"{part}{name}/{n}.png" for part in parts or ("",) for name in "ab" for n in range(4))
    )


def test_a_folder_of_classes(tmp_path):
    root = paint_classes(tmp_path / "photos")
    assert_same(loading.imagefolder(root=root), listed("imagefolder", tmp_path / "index", root=root))


def test_train_and_test_folders(tmp_path):
    root = paint_classes(tmp_path / "photos", "train/", "test/")
    indexes = listed("imagefolder", tmp_path / "index", root=root)
    assert list(indexes) == ["train", "test"]
    assert_same(loading.imagefolder(root=root), indexes)
    halved = listed("imagefolder", tmp_path / "index", root=root, from_split="test")
    assert list(halved) == ["test"]
    assert_same(loading.imagefolder(root=root, from_split="test"), halved)


names = st.text("ab.-é", min_size=1, max_size=3).filter(lambda name: name.strip("."))
trees = st.lists(st.lists(names, min_size=1, max_size=4), min_size=2, max_size=12)


@settings(max_examples=25)
@given(trees)
def test_any_tree_has_the_order_of_the_dataset(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("tree")
    root = folder / "photos"
    paint(root, "a.png", "b.png")
    for number, parts in enumerate(tree):
        path = root.joinpath(*parts[:-1], f"{parts[-1]}.png")
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), number).save(path)
    options = {"root": str(root), **NONE, "test_fraction": 0.5}
    assert_same(loading.imagefolder(**options), listed("imagefolder", folder / "index", **options))


def test_names_that_are_no_text_and_links_are_as_in_the_dataset(tmp_path):
    root = Path(paint_classes(tmp_path / "photos"))
    options = {"root": str(root)}
    (root / "a" / "0.png").rename(root / "a" / "\udce9.png")
    (root / "a" / "more").symlink_to(root / "b")
    (root / "b" / "up").symlink_to(root)
    (root / "b" / "link.png").symlink_to(root / "b" / "1.png")
    assert_same(loading.imagefolder(**options), listed("imagefolder", tmp_path / "index", **options))


def test_a_link_that_leads_out_is_refused_unless_allowed(tmp_path):
    root = Path(paint_classes(tmp_path / "photos"))
    (root / "a" / "out").symlink_to(paint(tmp_path / "other", "1.png"))
    with pytest.raises(InputError, match=r"dataset\.root: must be inside .*outside_root"):
        listed("imagefolder", tmp_path / "index", root=str(root))
    assert not list((tmp_path / "index").rglob("*.arrow*"))
    options = {"root": str(root), "outside_root": True}
    assert_same(loading.imagefolder(**options), listed("imagefolder", tmp_path / "index", **options))


def test_bad_images_are_left_out_and_listed(tmp_path):
    root = Path(paint_classes(tmp_path / "photos"))
    (root / "a" / "1.png").write_bytes(b"junk")
    (root / "b" / "x.png").mkdir()
    os.mkfifo(root / "b" / "pipe.png")
    options = {"root": str(root), "on_bad_image": "skip", "test_fraction": 0.5}
    indexes = listed("imagefolder", tmp_path / "index", **options)
    dataset = loading.imagefolder(**options)
    assert_same(dataset, indexes)
    assert indexes["all"].skipped == dataset.skipped == ("a/1.png", "b/pipe.png", "b/x.png")


def test_what_is_no_file_is_refused_before_anything_is_read(tmp_path):
    root = Path(paint_classes(tmp_path / "photos"))
    for number in range(7):
        (root / "b" / f"x{number}.png").mkdir()
    with pytest.raises(InputError, match=r"7 of 15 images can't be read: b/x0\.png .*; and 2 more\. Repair"):
        listed("imagefolder", tmp_path / "index", root=str(root))
    assert not list((tmp_path / "index").rglob("*.arrow*"))


def test_a_part_without_an_image_is_refused(tmp_path):
    root = Path(paint_classes(tmp_path / "photos", "train/", "test/"))
    for file in root.glob("test/*/*"):
        file.unlink()
    with pytest.raises(InputError, match=r"dataset\.root: must contain an image"):
        listed("imagefolder", tmp_path / "index", root=str(root))


def test_a_hub_set_by_row_groups(tmp_path, mirror):
    for file in (mirror / "pets").iterdir():
        pq.write_table(pq.read_table(file), file, row_group_size=7)
    columns = {"name": "pets", "image_column": "img", "data_dir": str(mirror)}
    indexes = listed("hub", tmp_path / "index", **columns)
    assert_same(loading.hub(**columns), indexes)
    rows = np.array([38, 3, 3, 17])
    dataset = loading.hub(**columns)
    for read, expected in zip(indexes["train"].read(rows), dataset.train.images.read(rows), strict=True):
        np.testing.assert_array_equal(read, expected)
    one = listed("hub", tmp_path / "one", **columns, test_split=None)
    assert list(one) == ["all"]
    assert_same(loading.hub(**columns, test_split=None), one)


def test_a_hub_set_in_arrow_files(tmp_path, mirror, monkeypatch):
    from fused_clip.dataset import hub_set
    from fused_clip.dataset.hub_files import HubFiles

    files = {}
    for split in ("train", "test"):
        table = pq.read_table(mirror / "pets" / f"{split}-00000-of-00001.parquet")
        files[split] = [tmp_path / f"pets-{split}.arrow"]
        with pa.ipc.new_stream(files[split][0], table.schema) as stream:
            stream.write_table(table, max_chunksize=9)
    monkeypatch.setattr(hub_set, "hugging_face", lambda *_: HubFiles(files, "cache"))
    columns = {"name": "pets", "path": "owner/pets", "image_column": "img"}
    assert_same(loading.hub(**columns), listed("hub", tmp_path / "index", **columns))


@pytest.mark.parametrize("column", [None, "split"])
def test_a_table_of_images(tmp_path, column):
    root = tmp_path / "photos"
    paint_classes(root)
    files = [f"./b/{row}.png" for row in range(4)] + [str(root / "a" / f"{row}.png") for row in range(4)]
    rows = [f"{file},{place < 4},{'train' if place % 4 < 2 else 'test'}" for place, file in enumerate(files)]
    (root / "all.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    options = {"path": str(root / "all.csv"), "split_column": column}
    indexes = listed("csv", tmp_path / "index", **options)
    assert_same(loading.csv(**options), indexes)
    os.utime(root / "all.csv", (1, 1))
    assert next(iter(indexes.values())).changed() == f"{root / 'all.csv'} has changed"


def test_two_tables_that_share_names_and_lack_images(tmp_path):
    for part in ("one", "two"):
        paint_classes(tmp_path / part)
        rows = [f"{name}/{row}.png,{name}" for name in "ab" for row in range(5)]
        (tmp_path / part / "all.csv").write_text("\n".join(["path,label", *rows, "c/0.png,a"]) + "\n")
    options = {"path": f"{tmp_path}/one/all.csv", "test_path": f"{tmp_path}/two/all.csv"}
    with pytest.raises(InputError, match=r"dataset\.image_column: 6 of 22 images are not there"):
        listed("csv", tmp_path / "index", **options)
    dataset = loading.csv(**options, on_bad_image="skip")
    indexes = listed("csv", tmp_path / "index", **options, on_bad_image="skip")
    assert_same(dataset, indexes)
    assert [*indexes["train"].skipped, *indexes["test"].skipped] == list(dataset.skipped)
    assert indexes["test"].ids(np.arange(2)) == ["test/a/0.png", "test/a/1.png"]


def test_tar_files(tmp_path):
    shards(tmp_path / "train", 3)
    shards(tmp_path / "test", 1)
    options = {"path": f"{tmp_path}/train/{{000..002}}.tar", "test_path": f"{tmp_path}/test"}
    assert_same(loading.webdataset(**options), listed("webdataset", tmp_path / "index", **options))
    half = {**options, "from_split": "test"}
    assert_same(loading.webdataset(**half), listed("webdataset", tmp_path / "index", **half))
    indexes = listed("webdataset", tmp_path / "index", path=options["path"])
    assert list(indexes) == ["all"]
    os.utime(tmp_path / "train" / "001.tar", (1, 1))
    assert indexes["all"].changed() == f"{tmp_path / 'train' / '001.tar'} has changed"


def test_tar_files_with_bad_images(tmp_path):
    files = {"1.cls": b"0", "2.png": b"junk", "2.cls": b"1", "3.png": png(1), "4.png": png(2)}
    pack(tmp_path / "a.tar", files)
    options = {"path": f"{tmp_path}/a.tar", **NONE, "test_fraction": 0.5}
    with pytest.raises(InputError, match=r"1 of 4 images can't be read: a/1 \(it has no image"):
        listed("webdataset", tmp_path / "index", **options)
    dataset = loading.webdataset(**options, on_bad_image="skip")
    indexes = listed("webdataset", tmp_path / "index", **options, on_bad_image="skip")
    assert_same(dataset, indexes)
    assert indexes["all"].skipped == dataset.skipped == ("a/1", "a/2.png")


def test_a_truncated_tar_file_leaves_no_index(tmp_path):
    shards(tmp_path / "tars")
    os.truncate(tmp_path / "tars" / "001.tar", 3_000)
    with pytest.raises(InputError, match=r"^dataset\.path: must be a whole tar file"):
        listed("webdataset", tmp_path / "index", path=f"{tmp_path}/tars")
    assert not list((tmp_path / "index").rglob("*.arrow*"))


def test_a_set_in_memory_needs_no_shards(tmp_path):
    with pytest.raises(
        InputError, match=r"dataset: needs no shards, got 'digits'; choose from: .*hub, image"
    ):
        listed("digits", tmp_path / "index")
    with pytest.raises(InputError, match=r"dataset: can't be cut into shards, got 'mine'"):
        index_of("mine.digits", Recipe(name="mine"), {}, None, tmp_path)
