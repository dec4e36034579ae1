import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fused_clip.dataset.images import ArrayImages, EncodedImages, FileImages
from fused_clip.support.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, size=(10, 5, 7), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encoded_images(cells: list[bytes], ends: list[int]) -> EncodedImages:
    """The cells in chunks that end where told, each a slice as arrow gives them."""
    whole = pa.array(cells, pa.large_binary())
    pieces = [
        whole.slice(start, end - start) for start, end in zip([0, *ends], [*ends, len(cells)], strict=True)
    ]
    return EncodedImages([lambda piece=piece: piece for piece in pieces], list(map(len, pieces)), "set/train")


def test_an_array_is_read_as_rgb():
    images = ArrayImages(PIXELS, "set")
    read = images.read(np.array([3, 1]))
    assert len(images) == 10
    np.testing.assert_array_equal(read[0], PIXELS[3][..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(read[1], PIXELS[1][..., None].repeat(3, axis=2))
    assert images.ids(np.array([3, 1])) == ["set/3", "set/1"]


def test_an_array_s_fingerprint_is_of_its_contents():
    changed = PIXELS.copy()
    changed[0, 0, 0] ^= 1
    same, other, shape = (
        ArrayImages(pixels, "set").fingerprint
        for pixels in (PIXELS.copy(), changed, PIXELS.reshape(10, 7, 5))
    )
    assert ArrayImages(PIXELS, "another name").fingerprint == same
    assert len({same, other, shape}) == 3


@pytest.mark.parametrize("ends", [[], [4], [0, 3, 3, 9]])
def test_encoded_rows_are_read_in_any_order_from_any_chunks(ends):
    images = encoded_images([png(pixels) for pixels in PIXELS], ends)
    rows = np.array([9, 0, 4, 4, 3, 8])
    assert len(images) == 10
    for pixels, row in zip(images.read(rows), rows, strict=True):
        np.testing.assert_array_equal(pixels, PIXELS[row][..., None].repeat(3, axis=2))
    assert images.ids(rows)[:2] == ["set/train/9", "set/train/0"]


def test_no_rows_give_no_images():
    assert list(encoded_images([png(PIXELS[0])], []).read(np.array([], dtype=np.int64))) == []


def test_the_fingerprint_is_the_same_however_it_is_chunked():
    cells = [png(pixels) for pixels in PIXELS]
    assert len({encoded_images(cells, ends).fingerprint for ends in ([], [4], [0, 3, 3, 9])}) == 1


def test_a_table_and_files_of_the_same_images_have_one_fingerprint():
    cells = [png(pixels) for pixels in PIXELS]
    digests = tuple(hashlib.sha256(cell).digest() for cell in cells)
    files = FileImages(tuple(map(Path, "0123456789")), tuple("0123456789"), digests)
    assert encoded_images(cells, [4]).fingerprint == files.fingerprint


def test_the_fingerprint_changes_with_contents_order_and_borders():
    cells = [b"aa", b"bb", b"cc"]
    others = [[b"aa", b"bb", b"cd"], [b"bb", b"aa", b"cc"], [b"aab", b"b", b"cc"], [b"aa", b"bb"]]
    prints = {encoded_images(these, []).fingerprint for these in [cells, *others]}
    assert len(prints) == 5


def test_each_chunk_is_read_once_when_rows_ascend():
    reads: list[int] = []
    cells = pa.array([png(pixels) for pixels in PIXELS], pa.large_binary())

    def chunk(index: int) -> pa.Array:
        reads.append(index)
        return cells.slice(index * 2, 2)

    images = EncodedImages([lambda index=index: chunk(index) for index in range(5)], [2] * 5, "set")
    for start in range(0, 10, 3):
        list(images.read(np.arange(start, min(start + 3, 10))))
    assert reads == [0, 1, 2, 3, 4]


def test_large_images_are_the_same_through_threads():
    noise = np.random.default_rng(1).integers(0, 256, size=(5, 150, 160, 3), dtype=np.uint8)
    for read, pixels in zip(
        encoded_images([png(one) for one in noise], [2]).read(np.arange(5)), noise, strict=True
    ):
        np.testing.assert_array_equal(read, pixels)


def test_a_damaged_cell_is_named():
    images = encoded_images([png(PIXELS[0]), b"junk"], [])
    with pytest.raises(InputError, match="image set/train/1 can't be read"):
        list(images.read(np.array([0, 1])))


def test_a_table_that_changes_while_a_run_reads_it_is_refused():
    cells = [png(pixels) for pixels in PIXELS]
    images = EncodedImages([lambda: pa.array(cells, pa.large_binary())], [len(cells)], "set")
    assert images.fingerprint
    cells[3] = png(PIXELS[4])
    images._chunk.cache_clear()
    with pytest.raises(InputError, match="images of set are no longer what they were"):
        list(images.read(np.arange(10)))


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    """Three files of which the last is no image."""
    contents = [png(PIXELS[0]), png(PIXELS[1]), b"junk"]
    paths = tuple(tmp_path / name for name in ("a.png", "b.png", "c.png"))
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    digests = tuple(hashlib.sha256(content).digest() for content in contents)
    return FileImages(paths, ("x/a.png", "x/b.png", "x/c.png"), digests)


def test_files_are_read_and_a_damaged_one_is_named(files):
    (pixels,) = files.read(np.array([1]))
    np.testing.assert_array_equal(pixels[..., 0], PIXELS[1])
    assert len(files) == 3
    assert files.ids(np.array([1, 0])) == ["x/b.png", "x/a.png"]
    with pytest.raises(InputError, match=r"image x/c\.png can't be read"):
        list(files.read(np.array([0, 2])))


def test_a_file_that_changed_or_went_since_it_was_hashed_is_named(files):
    files.paths[0].write_bytes(png(PIXELS[2]))
    files.paths[1].unlink()
    with pytest.raises(InputError, match=r"image x/a\.png can't be read \(it is no longer what it was"):
        list(files.read(np.array([0])))
    with pytest.raises(InputError, match=r"image x/b\.png can't be read \(No such file"):
        list(files.read(np.array([1])))
