from pathlib import Path
from struct import pack
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from fused_clip.support.errors import InputError
from tests.loading import imagefolder


def fill(root: Path, counts: dict[str, int], kind: str = "png") -> Path:
    """Write images whose pixels tell them all apart."""
    rng = np.random.default_rng(len(counts))
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{index}.{kind}")
    return root


def test_one_folder_is_split_by_test_fraction(tmp_path):
    fill(tmp_path, {"cat": 10, "dog": 20})
    dataset = imagefolder(root=str(tmp_path), test_fraction=0.3)
    assert dataset.class_names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (21, 9)
    assert np.bincount(dataset.test.labels).tolist() == [3, 6]
    assert dataset.train.origin == "user"
    assert dataset.source == f"folder {tmp_path}"
    assert set(dataset.train.ids) | set(dataset.test.ids) == {
        f"{name}/{index}.png" for name, count in (("cat", 10), ("dog", 20)) for index in range(count)
    }


def test_pixels_stay_with_their_label_and_name(tmp_path):
    fill(tmp_path, {"cat": 3, "dog": 4})
    split = imagefolder(root=str(tmp_path), test_fraction=0.4).test
    for name, label, pixels in zip(split.ids, split.labels, split.images.read(split.rows), strict=True):
        assert name.startswith(("cat/", "dog/")[label])
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(tmp_path / name)))


def test_own_test_folder_is_matched_by_name(tmp_path):
    fill(tmp_path / "train", {"10": 2, "2": 2, "cat": 2})
    fill(tmp_path / "test", {"cat": 3, "2": 1, "emu": 1})
    dataset = imagefolder(root=str(tmp_path))
    assert dataset.class_names == ("2", "10", "cat", "emu")
    assert dataset.train.labels.tolist() == [1, 1, 0, 0, 2, 2]
    assert dataset.test.labels.tolist() == [0, 2, 2, 2, 3]
    assert dataset.test.ids[0] == "test/2/0.png"


def test_own_test_folder_can_be_halved(tmp_path):
    fill(tmp_path / "train", {"cat": 2, "dog": 2})
    fill(tmp_path / "test", {"cat": 6, "dog": 4})
    dataset = imagefolder(root=str(tmp_path), from_split="test")
    assert (len(dataset.train), len(dataset.test)) == (5, 5)
    assert all(name.startswith("test/") for name in [*dataset.train.ids, *dataset.test.ids])
    with pytest.raises(InputError, match=r"dataset\.from_split: must be null"):
        imagefolder(root=str(tmp_path / "train"), from_split="test")


def test_names_come_through_whatever_they_are(tmp_path):
    names = ["<script>", "big dog", "cafe\u0301", "class10", "class2", "日本", "a=b [c]"]
    fill(tmp_path, dict.fromkeys(names, 2))
    dataset = imagefolder(root=str(tmp_path), test_fraction=0.5)
    assert dataset.class_names == ("<script>", "a=b [c]", "big dog", "café", "class2", "class10", "日本")
    assert len(list(dataset.train.images.read(dataset.train.rows))) == 7


def test_an_undecodable_name_is_escaped(tmp_path):
    fill(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / "\udce9.png")
    dataset = imagefolder(root=str(tmp_path), test_fraction=0.5)
    ids = [*dataset.train.ids, *dataset.test.ids]
    assert "cat/\\udce9.png" in ids
    assert all(name.encode() for name in ids)


def test_deeper_folders_links_and_upper_case_are_read_and_other_files_passed_over(tmp_path):
    fill(tmp_path, {"cat/deep/er": 2, "dog": 2})
    fill(tmp_path / "elsewhere", {"": 2})
    (tmp_path / "elsewhere").rename(tmp_path.with_name("elsewhere"))
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "linked").symlink_to(tmp_path.with_name("elsewhere"))
    (tmp_path / "dog" / "same.png").symlink_to("1.png")
    (tmp_path / "dog" / "0.png").rename(tmp_path / "dog" / "0.PNG")
    for extra in ("dog/notes.txt", "dog/.hidden.png", "readme.png", "cat/Thumbs.db"):
        (tmp_path / extra).write_bytes(b"x")
    fill(tmp_path, {".ipynb_checkpoints": 1, "__MACOSX": 1})
    dataset = imagefolder(root=str(tmp_path), test_fraction=0.5, outside_root=True)
    assert dataset.class_names == ("cat", "dog", "emu")
    assert len(dataset.train) + len(dataset.test) == 7


@pytest.mark.parametrize("link", ["dog/out.png", "dog/out", "emu"])
@pytest.mark.parametrize("labels", ["given", "none"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, link: str, labels: str) -> None:
    fill(tmp_path / "root", {"cat": 2, "dog": 2})
    fill(tmp_path / "elsewhere", {"": 2})
    (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere" / ("0.png" if "." in link else ""))
    own = {"root": str(tmp_path / "root"), "test_fraction": 0.5, "labels": labels}
    own |= {"classes": ["cat", "dog"]} if labels == "none" else {}
    with pytest.raises(
        InputError, match=rf"^dataset\.root: must be inside .*{link}'.* dataset.outside_root=true"
    ):
        imagefolder(**own)
    dataset = imagefolder(**own, outside_root=True)
    assert len(dataset.train) + len(dataset.test) == 4 + (1 if "." in link else 2)


def test_the_fingerprint_is_of_contents_not_of_paths_or_times(tmp_path):
    one = fill(tmp_path / "one", {"cat": 3, "dog": 3})
    two = fill(tmp_path / "two", {"cat": 3, "dog": 3})
    first, second = (imagefolder(root=str(root), test_fraction=0.5) for root in (one, two))
    assert first.fingerprint == second.fingerprint
    Image.new("RGB", (5, 5)).save(two / "dog" / "1.png")
    assert imagefolder(root=str(two), test_fraction=0.5).fingerprint != first.fingerprint


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Four cats, four dogs, and among them three files that are no whole image."""
    fill(tmp_path, {"cat": 6, "dog": 5}, "jpg")
    (tmp_path / "cat" / "1.jpg").write_bytes(b"<html>")
    (tmp_path / "cat" / "2.jpg").write_bytes((tmp_path / "cat" / "2.jpg").read_bytes()[:-200])
    (tmp_path / "dog" / "0.jpg").unlink()
    (tmp_path / "dog" / "0.jpg").symlink_to(tmp_path / "nowhere.jpg")
    return tmp_path


def test_unreadable_images_are_named(damaged):
    with pytest.raises(InputError) as caught:
        imagefolder(root=str(damaged))
    message = str(caught.value)
    assert "3 of 11 images can't be read" in message
    assert all(name in message for name in ("cat/1.jpg", "cat/2.jpg", "dog/0.jpg (No such file"))
    assert "dataset.on_bad_image=skip" in message


def test_unreadable_images_are_left_out_counted_and_rows_stay_aligned(damaged):
    dataset = imagefolder(root=str(damaged), on_bad_image="skip", test_fraction=0.5)
    assert dataset.skipped == ("cat/1.jpg", "cat/2.jpg", "dog/0.jpg")
    for split in (dataset.train, dataset.test):
        assert np.bincount(split.labels).tolist() == [2, 2]
        assert [
            ("cat/", "dog/")[label] == name[:4] for label, name in zip(split.labels, split.ids, strict=True)
        ]
        assert len(list(split.images.read(split.rows))) == 4


@pytest.fixture
def bombs(tmp_path: Path) -> Path:
    """Four cats, four dogs, and two small files that say they hold more pixels than may be decoded."""
    fill(tmp_path, {"cat": 4, "dog": 4})
    for name, side in (("cat/large.png", 10_000), ("dog/huge.png", 50_000)):
        header = b"IHDR" + pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        end = pack(">I", 0) + b"IEND" + pack(">I", crc32(b"IEND"))
        chunk = pack(">I", 13) + header + pack(">I", crc32(header))
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + end)
    return tmp_path


def test_bombs_are_named(bombs):
    with pytest.raises(InputError) as caught:
        imagefolder(root=str(bombs), max_pixels=90_000_000)
    message = str(caught.value)
    for name, side in (("cat/large.png", 10_000), ("dog/huge.png", 50_000)):
        assert f"{name} ({side} x {side} pixels are too many: over max_pixels=90000000)" in message


def test_bombs_are_left_out_and_counted(bombs):
    dataset = imagefolder(root=str(bombs), on_bad_image="skip", test_fraction=0.5, max_pixels=90_000_000)
    assert sorted(dataset.skipped) == ["cat/large.png", "dog/huge.png"]
    assert (len(dataset.train), len(dataset.test)) == (4, 4)


def test_a_link_that_leads_back_up_is_not_gone_through_again(tmp_path):
    fill(tmp_path, {"train/cat/deep": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    for link, target in (("train/cat/up", "."), ("train/cat/deep/up", "train/cat"), ("test/dog/up", "test")):
        (tmp_path / link).symlink_to(tmp_path / target)
    dataset = imagefolder(root=str(tmp_path))
    assert dataset.train.ids == [
        "train/cat/deep/0.png",
        "train/cat/deep/1.png",
        "train/dog/0.png",
        "train/dog/1.png",
    ]
    assert dataset.test.ids == ["test/cat/0.png", "test/dog/0.png"]


def test_a_long_list_of_unreadable_images_is_cut(tmp_path):
    fill(tmp_path, {"cat": 9, "dog": 2})
    for file in (tmp_path / "cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"9 of 11 .*; and 4 more"):
        imagefolder(root=str(tmp_path))
    with pytest.raises(InputError, match=r"every class needs an image, got \['cat'\]"):
        imagefolder(root=str(tmp_path), on_bad_image="skip", test_fraction=0.5)


def test_a_root_that_cannot_be_is_refused(tmp_path):
    def message(root: Path | None) -> str:
        with pytest.raises(InputError) as caught:
            imagefolder(root=None if root is None else str(root))
        return str(caught.value)

    assert "dataset.root: must name the folder" in message(None)
    assert "dataset.root: must be an existing folder" in message(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "dataset.root: must be an existing folder" in message(tmp_path / "file")
    assert "two classes or more, has []" in message(fill(tmp_path / "empty", {"": 2}))
    assert "two classes or more, has ['cat']" in message(fill(tmp_path / "one", {"cat": 2}))
    assert "every class needs an image" in message(fill(tmp_path / "bare", {"cat": 4, "dog": 4, "emu": 0}))
    assert "needs test/ next to it" in message(fill(tmp_path / "half", {"train/cat": 2, "train/dog": 2}))
    assert "needs train/ next to it" in message(fill(tmp_path / "rest", {"test/cat": 2, "val/dog": 2}))


def test_a_class_may_be_called_train(tmp_path):
    dataset = imagefolder(root=str(fill(tmp_path, {"train": 4, "bus": 4})), test_fraction=0.5)
    assert dataset.class_names == ("bus", "train")
