import hashlib
import os

import numpy as np
import pytest

from fused_clip.dataset.images import FileImages
from fused_clip.support.errors import InputError
from tests.dataset.tars import pack, png, sample, shards
from tests.loading import imagefolder, webdataset

NONE = {"labels": "none", "classes": ["cat", "dog"]}
HALF = {"test_fraction": 0.5}


def test_samples_of_all_tar_files_are_rows_with_labels_and_pixels(tmp_path):
    dataset = webdataset(path=str(shards(tmp_path)), **HALF)
    assert dataset.class_names == ("0", "1")
    images = dataset.train.images
    assert images.ids(np.arange(12))[5:8] == ["000/0005.png", "001/1000.png", "001/1001.png"]
    for split in (dataset.train, dataset.test):
        for name, label, pixels in zip(split.ids, split.labels, images.read(split.rows), strict=True):
            row = int(name[5:8]) + 6 * int(name[:3])
            assert label == row % 2
            assert (pixels == row).all()
    assert dataset.train.origin == "user"
    assert dataset.source == f"tar files {tmp_path}"


def test_tar_files_a_folder_and_its_images_have_one_fingerprint(tmp_path):
    for name in "ab":
        for row in range(3):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / name / f"{row}.png").write_bytes(png(row + 10 * (name == "b")))
    files: dict[str, bytes] = {}
    for name in "ab":
        for row in range(3):
            files |= sample(f"{name}{row}", row + 10 * (name == "b"), name)
    pack(tmp_path / "0.tar", files)
    packed, folder = (
        webdataset(path=f"{tmp_path}/0.tar", **HALF),
        imagefolder(root=f"{tmp_path}/photos", **HALF),
    )
    assert packed.train.images.fingerprint == folder.train.images.fingerprint
    assert packed.fingerprint == folder.fingerprint


def test_a_test_split_of_its_own(tmp_path):
    shards(tmp_path / "train")
    shards(tmp_path / "test", 1)
    dataset = webdataset(path=f"{tmp_path}/train/{{000..001}}.tar", test_path=f"{tmp_path}/test/*.tar")
    assert (len(dataset.train), len(dataset.test)) == (12, 6)
    assert (dataset.train.ids[0], dataset.test.ids[0]) == ("train/000/0000.png", "test/000/0000.png")
    halves = webdataset(path=f"{tmp_path}/train", test_path=f"{tmp_path}/test", from_split="test")
    assert (len(halves.train), len(halves.test)) == (3, 3)
    with pytest.raises(InputError, match=r"dataset\.from_split: must be null"):
        webdataset(path=f"{tmp_path}/train", from_split="test")


@pytest.mark.parametrize(
    ("extension", "contents", "column", "names"),
    [
        ("cls", [b"0", b"1\n"], "cls", ("0", "1")),
        ("cls", [b"7", b"10"], "cls", ("7", "10")),
        ("txt", [b" Katze\n", "cafe\u0301".encode()], "txt", ("café", "Katze")),
        ("json", [b'{"breed": "pug", "n": 1}', b'{"breed": 3}'], "json:breed", ("3", "pug")),
        ("meta.json", [b'{"n": 0}', b'{"n": 1}'], "meta.json:n", ("0", "1")),
    ],
)
def test_labels_are_text_of_a_member_or_a_value_of_json(tmp_path, extension, contents, column, names):
    files: dict[str, bytes] = {}
    for row in range(4):
        files |= {f"{row}.png": png(row), f"{row}.{extension}": contents[row % 2]}
    pack(tmp_path / "a.tar", files)
    assert webdataset(path=f"{tmp_path}/a.tar", label_column=column, **HALF).class_names == names


def test_integers_from_0_are_named_in_turn_and_others_are_text(tmp_path):
    path = str(shards(tmp_path / "plain"))
    dataset = webdataset(path=path, class_names=["even", "odd"], **HALF)
    assert dataset.class_names == ("even", "odd")
    assert set(dataset.train.labels) == {0, 1}
    pack(
        tmp_path / "gap.tar",
        {k: v for row in range(4) for k, v in sample(f"{row}", row, row % 2 + 1).items()},
    )
    assert webdataset(path=f"{tmp_path}/gap.tar", class_names=["2", "1"], **HALF).class_names == ("2", "1")


def test_labels_need_not_be_there(tmp_path):
    pack(tmp_path / "a.tar", {f"{row}.png": png(row) for row in range(6)})
    dataset = webdataset(path=f"{tmp_path}/a.tar", **NONE, **HALF)
    assert not dataset.labelled
    assert len(dataset.train) + len(dataset.test) == 6


LABEL, TWO = "label_column", {"1.png": png(1), "1.PNG": b""}


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (
            {"1.png": png(1)},
            {},
            rf"{LABEL}: must be the extension of a member of sample a/1, got",
        ),
        ({"1.png": png(1), "1.cls": b" "}, {}, rf"{LABEL}: must give text or a whole number for sample a/1"),
        (
            {"1.png": png(1), "1.cls": b"\xff"},
            {},
            rf"{LABEL}: the label of sample a/1 can't be read",
        ),
        (
            {"1.png": png(1), "1.json": b"[]"},
            {LABEL: "json:x"},
            rf"{LABEL}: .* can't be read \(it must",
        ),
        ({"1.png": png(1), "1.json": b'{"x": 1.5}'}, {LABEL: "json:x"}, rf"{LABEL}: must give .* got 1\.5"),
        ({"1.png": png(1), "1.json": b"{}"}, {LABEL: "json:x"}, rf"{LABEL}: must give .* got None"),
        (sample("1", 1, "cat"), {}, rf"{LABEL}: must contain two classes or more, got \['cat'\]"),
        (
            {"1.cls": b"0", "2.cls": b"1"},
            {},
            r"on_bad_image: 2 of 2 images .*: a/1 \(it has no image, but",
        ),
        ({"1.png": png(1), "1.jpg": b"", "1.cls": b"1"}, {}, r"image_column: must choose one of the images"),
        (TWO, NONE, r"path: must have the members of a sample in a row, each once; 1\.png comes again"),
        ({}, {}, r"path: must contain a sample"),
        ({"readme": b""}, NONE, r"path: must contain a sample"),
    ],
)
def test_samples_that_cannot_be_are_refused(tmp_path, files, options, message):
    pack(tmp_path / "a.tar", files)
    with pytest.raises(InputError, match=rf"^dataset\.{message}"):
        webdataset(path=f"{tmp_path}/a.tar", **options)


def test_bad_images_are_left_out_and_listed(tmp_path):
    files: dict[str, bytes] = {}
    for row in range(6):
        files |= sample(str(row), row, row % 2)
    files |= {"6.png": b"junk", "6.cls": b"0", "7.cls": b"1"}
    pack(tmp_path / "a.tar", files)
    with pytest.raises(
        InputError, match=r"2 of 8 images can't be read: a/6\.png \(.*; a/7 \(it has no image"
    ):
        webdataset(path=f"{tmp_path}/a.tar")
    dataset = webdataset(path=f"{tmp_path}/a.tar", on_bad_image="skip", **HALF)
    assert dataset.skipped == ("a/6.png", "a/7")
    assert len(dataset.train) + len(dataset.test) == 6


def test_too_many_pixels_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"12 of 12 images can't be read: .*over max_pixels=3"):
        webdataset(path=str(shards(tmp_path)), max_pixels=3)


def test_a_truncated_tar_file_is_one_clear_line(tmp_path):
    shards(tmp_path)
    os.truncate(tmp_path / "001.tar", 3_000)
    with pytest.raises(
        InputError, match=r"^dataset\.path: must be a whole tar file .*001\.tar'\. It is"
    ) as caught:
        webdataset(path=str(tmp_path), on_bad_image="skip")
    assert "\n" not in str(caught.value)


def test_names_that_lead_out_are_only_names(tmp_path):
    files = {k: v for row in range(4) for k, v in sample(f"../../etc/{row}", row, row % 2).items()}
    pack(tmp_path / "a.tar", files)
    dataset = webdataset(path=f"{tmp_path}/a.tar", **HALF)
    assert set(dataset.train.ids) | set(dataset.test.ids) == {f"a/../../etc/{row}.png" for row in range(4)}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tar"]


def test_a_tar_file_that_changes_while_a_run_reads_it_is_refused(tmp_path):
    dataset = webdataset(path=str(shards(tmp_path, 1)), **HALF)
    images = dataset.train.images
    assert isinstance(images, FileImages)
    start, size = images.spans[0]
    with (tmp_path / "000.tar").open("r+b") as file:
        file.seek(start + size - 1)
        file.write(b"\xff")
    with pytest.raises(InputError, match=r"image 000/0000\.png can't be read \(it is no longer what it was"):
        list(images.read(np.array([0])))
    assert images.places[0] == f"{tmp_path / '000.tar'}:{start}+{size}"


def test_the_bytes_of_an_image_are_those_of_its_file(tmp_path):
    dataset = webdataset(path=str(shards(tmp_path)), **HALF)
    images = dataset.train.images
    assert isinstance(images, FileImages)
    assert images.digests == tuple(hashlib.sha256(png(row)).digest() for row in range(12))
