import hashlib
import os
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fused_clip.dataset.image_index import ImageIndex, write_index
from fused_clip.dataset.index_file import Container, Entry, Listed, container
from fused_clip.support.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, size=(5, 6, 7, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> list[Entry]:
    """Three files in a folder, and two one after the other in a file."""
    folder, packed = tmp_path / "photos", tmp_path / "packed"
    folder.mkdir()
    contents = [png(pixels) for pixels in PIXELS]
    for number in range(3):
        (folder / f"{number}.png").write_bytes(contents[number])
    packed.write_bytes(b"head" + contents[3] + contents[4])
    first, second = container(folder, "x/"), container(packed, "packed/")
    sizes = list(map(len, contents))
    return [
        first,
        *(Listed(first, f"{number}.png", -1, sizes[number]) for number in range(3)),
        Listed(second, "3.png", 4, sizes[3]),
        Listed(second, "4.png", 4 + sizes[3], sizes[4]),
    ]


def test_images_are_read_in_any_order_with_their_digests(tmp_path, photos):
    index = write_index(tmp_path / "index", photos)
    rows = np.array([4, 0, 0, 3, 2, 1])
    assert len(index) == 5
    assert index.ids(rows)[:3] == ["packed/4.png", "x/0.png", "x/0.png"]
    for row, (pixels, digest) in zip(rows, index.read_with_digests(rows), strict=True):
        np.testing.assert_array_equal(pixels, PIXELS[row])
        assert digest == hashlib.sha256(png(PIXELS[row])).digest()
    assert list(index.contents(1, 4)) == [png(pixels) for pixels in PIXELS[1:4]]
    assert list(index.contents(5, 5)) == list(index.read(np.array([], np.int64))) == []


def test_an_index_is_opened_again(tmp_path, photos):
    made = write_index(tmp_path / "index", photos, max_pixels=77)
    again = ImageIndex.open(tmp_path / "index")
    assert (again.listing, again.max_pixels, len(again)) == (made.listing, 77, 5)


def test_the_listing_is_of_names_and_sizes_and_not_of_places(tmp_path, photos):
    listing = write_index(tmp_path / "index", photos).listing
    moved = [
        entry._replace(container=entry.container._replace(path="/elsewhere", time=1))
        for entry in photos
        if isinstance(entry, Listed)
    ]
    assert write_index(tmp_path / "moved", moved).listing == listing
    for change in ({"name": "other.png"}, {"size": 1}):
        assert write_index(tmp_path / "other", [moved[0]._replace(**change), *moved[1:]]).listing != listing
    assert write_index(tmp_path / "other", moved[::-1]).listing != listing


def test_rows_of_many_batches_and_containers_keep_their_places(tmp_path):
    places = [Container(f"/folder/{number}", f"{number}/", number, 0) for number in range(5_000)]
    entries = (Listed(places[row // 2 % 5_000], f"{row}.png", -1, row) for row in range(12_000))
    index = write_index(tmp_path / "index", entries)
    rows = np.random.default_rng(0).permutation(12_000)[:500]
    for some in (rows, np.sort(rows), np.arange(4_090, 4_100)):
        assert index.ids(some) == [f"{row // 2 % 5_000}/{row}.png" for row in some]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(b"short"), r"image x/1\.png can't be read \(it has 5 bytes; \d+ when"),
        (lambda file: file.unlink(), r"image x/1\.png can't be read \(No such file"),
        (lambda file: (file.unlink(), os.mkfifo(file)), r"image x/1\.png can't be read \(it is a pipe"),
    ],
)
def test_an_image_that_is_gone_or_another_is_named(tmp_path, photos, damage, message):
    index = write_index(tmp_path / "index", photos)
    damage(tmp_path / "photos" / "1.png")
    for read in (lambda: index.contents(0, 3), lambda: index.read(np.arange(3))):
        with pytest.raises(InputError, match=message):
            list(read())


def test_an_image_that_can_t_be_decoded_is_named(tmp_path, photos):
    index = write_index(tmp_path / "index", photos)
    file = tmp_path / "photos" / "2.png"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(InputError, match=r"image x/2\.png can't be read \(it is no image"):
        list(index.read(np.arange(5)))
    assert len(list(index.contents(0, 5))) == 5


def test_a_packed_file_that_was_cut_is_named(tmp_path, photos):
    index = write_index(tmp_path / "index", photos)
    os.truncate(tmp_path / "packed", 10)
    with pytest.raises(InputError, match=r"image packed/3\.png can't be read \(it has 6 bytes"):
        list(index.contents(3, 5))


def test_changes_of_folders_and_files_are_seen(tmp_path, photos):
    index = write_index(tmp_path / "index", photos)
    assert index.changed() == ""
    (tmp_path / "photos" / "new.png").write_bytes(b"")
    os.utime(tmp_path / "photos", ns=(1, 1))
    assert index.changed() == f"{tmp_path / 'photos'} has changed"
    index = write_index(tmp_path / "index", [container(tmp_path / "photos"), *photos[4:]])
    (tmp_path / "packed").unlink()
    assert index.changed() == f"{tmp_path / 'packed'} can't be read (No such file or directory)"


def test_an_index_replaces_the_one_before_and_leaves_no_other_file(tmp_path, photos):
    old = write_index(tmp_path / "index", photos)
    new = write_index(tmp_path / "index", photos[:3])
    assert (len(new), len(ImageIndex.open(tmp_path / "index"))) == (2, 2)
    assert len(list((tmp_path / "index").glob("*.arrow*"))) == 2
    assert len(list(old.contents(0, 5))) == 5, "who has it open goes on reading"


def test_an_index_that_fails_leaves_the_one_before(tmp_path, photos):
    def failing():
        yield from photos[:2]
        raise KeyError("stop")

    write_index(tmp_path / "index", photos)
    with pytest.raises(KeyError):
        write_index(tmp_path / "index", failing())
    assert len(ImageIndex.open(tmp_path / "index")) == 5
    assert len(list((tmp_path / "index").glob("*.arrow*"))) == 2


def test_writers_at_once_leave_a_whole_index(tmp_path, photos):
    work = [threading.Thread(target=write_index, args=(tmp_path / "index", photos)) for _ in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(list(ImageIndex.open(tmp_path / "index").contents(0, 5))) == 5
    assert len(list((tmp_path / "index").glob("*.arrow*"))) == 2


@pytest.mark.parametrize("name", ["index.json", "images-*.arrow", "containers-*.arrow"])
def test_damage_is_found(tmp_path, photos, name):
    write_index(tmp_path / "index", photos)
    (file,) = (tmp_path / "index").glob(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"^index: must be a folder with a whole index of images"):
        ImageIndex.open(tmp_path / "index")
    file.unlink()
    with pytest.raises(InputError, match=r"^index: must be a folder with a whole index of images"):
        ImageIndex.open(tmp_path / "index")
