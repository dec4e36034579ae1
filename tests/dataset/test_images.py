from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fused_clip.dataset.images import ArrayImages, EncodedImages, FileImages
from fused_clip.errors import InputError

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
    assert encoded_images([png(PIXELS[0])], []).read(np.array([], dtype=np.int64)) == []


def test_the_fingerprint_is_the_same_however_it_is_chunked():
    cells = [png(pixels) for pixels in PIXELS]
    assert len({encoded_images(cells, ends).fingerprint for ends in ([], [4], [0, 3, 3, 9])}) == 1


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
        images.read(np.arange(start, min(start + 3, 10)))
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
        images.read(np.array([0, 1]))


def test_files_are_read_and_a_damaged_one_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PIXELS[0]))
    (tmp_path / "b.png").write_bytes(b"junk")
    images = FileImages((tmp_path / "a.png", tmp_path / "b.png"), ("x/a.png", "x/b.png"), "00")
    np.testing.assert_array_equal(images.read(np.array([0]))[0][..., 0], PIXELS[0])
    assert len(images) == 2
    assert images.ids(np.array([1, 0])) == ["x/b.png", "x/a.png"]
    with pytest.raises(InputError, match=r"image x/b\.png can't be read"):
        images.read(np.array([1]))
