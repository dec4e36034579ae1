"""Each image is embedded once, and what is no image has a reason."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from fused_clip.app.image_memory import ImageMemory
from fused_clip.app.uploads import MOST_PIXELS, Upload
from tests.app.conftest import png, uploads
from tests.fakes import FakeBackbone


@pytest.fixture
def backbone() -> FakeBackbone:
    return FakeBackbone(batch_size=4)


def memory_of(backbone: FakeBackbone, most: int = 100) -> ImageMemory:
    return ImageMemory(backbone, most)  # type: ignore[arg-type]


def embedded(backbone: FakeBackbone) -> int:
    return sum(backbone.batches)


def test_an_image_is_embedded_once_by_its_content(backbone: FakeBackbone) -> None:
    memory = memory_of(backbone)
    some = uploads(6)
    first = memory.look(some)
    assert embedded(backbone) == 6
    renamed = [upload._replace(name=f"x/{upload.name}") for upload in reversed(some)]
    again = memory.look([*renamed, *uploads(2, seed=9), some[0]])
    assert embedded(backbone) == 8
    for one, other in zip(first, reversed(again[:6]), strict=True):
        assert one is other
    assert again[-1] is first[0]


def test_the_same_content_twice_is_embedded_once_at_first_sight(backbone: FakeBackbone) -> None:
    some = uploads(3)
    found = memory_of(backbone).look([*some, *some])
    assert embedded(backbone) == 3
    assert found[:3] == found[3:]


def test_rows_are_those_of_the_backbone_in_the_order_given(backbone: FakeBackbone) -> None:
    colours = [10, 200, 30, 90, 60]
    images = [np.full((6, 8, 3), colour, np.uint8) for colour in colours]
    files = [Upload.of("same name", png(image)) for image in images]
    files.insert(2, Upload.of("bad", b"no image"))
    found = memory_of(backbone).look(files)
    rows = [image.row for image in found if image.row is not None]
    np.testing.assert_array_equal(rows, backbone.encode_images(images))
    assert [bool(image.error) for image in found] == [False, False, True, False, False, False]


def test_the_longest_unseen_images_are_forgotten(backbone: FakeBackbone) -> None:
    memory = memory_of(backbone, most=4)
    some = uploads(6)
    memory.look(some[:4])
    memory.look(some[:1])
    memory.look(some[4:5])  # in place of the second
    memory.look([some[0], *some[2:5]])
    assert embedded(backbone) == 5
    memory.look(some[1:2])
    assert embedded(backbone) == 6


def test_more_images_than_are_kept_all_get_an_answer(backbone: FakeBackbone) -> None:
    assert len(memory_of(backbone, most=2).look(uploads(9))) == 9


def test_an_embedding_that_is_none_is_an_error(backbone: FakeBackbone) -> None:
    class Broken(FakeBackbone):
        def _rows(self, images: np.ndarray) -> np.ndarray:
            rows = super()._rows(images)
            rows[images[:, 0] == 10] = np.nan
            return rows

    files = [Upload.of("x", png(np.full((4, 4, 3), colour, np.uint8))) for colour in (9, 10, 11)]
    found = memory_of(Broken()).look(files)
    assert [image.error for image in found] == ["", "its embedding is not finite, or zero", ""]
    assert found[1].row is None
    assert found[2].row is not None


def test_a_thumbnail_is_a_small_webp_of_the_pixels_alone(backbone: FakeBackbone) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "SECRET <script>"
    Image.new("RGB", (900, 300), "teal").save(file, "JPEG", exif=exif)
    (found,) = memory_of(backbone).look([Upload.of("a.jpg", file.getvalue())])
    assert b"SECRET" in file.getvalue()
    assert b"SECRET" not in found.thumbnail
    with Image.open(io.BytesIO(found.thumbnail)) as small:
        assert (small.format, small.size) == ("WEBP", (160, 53))


def bomb(width: int, height: int) -> bytes:
    """A PNG of 100 bytes that states a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../etc/passwd.png", png(np.zeros((4, 4, 3), np.uint8)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no image"),
        (b"<html><script>alert(1)</script></html>", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n", "no image"),
        (zipped(), "no image"),
        (bomb(20_000, 20_000), f"max_pixels={MOST_PIXELS}"),
        (bomb(2**31 - 1, 2**31 - 1), "max_pixels"),
        (bomb(9_000, 10), "too thin"),
        (b"/etc/passwd", "no image"),
    ],
)
def test_other_files_have_a_reason_and_embed_nothing(
    content: bytes, reason: str, backbone: FakeBackbone
) -> None:
    (found,) = memory_of(backbone).look([Upload.of("a.png", content)])
    assert found.row is None
    assert found.thumbnail == b""
    assert reason in found.error
    assert embedded(backbone) == 0
