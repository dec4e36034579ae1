from io import BytesIO
from struct import pack

import numpy as np
import pytest
from PIL import Image, ImageOps

from fused_clip.dataset.decode import (
    UnreadableImageError,
    check,
    count_pixels,
    decode,
    map_threads,
    reduction,
    thumbnail,
    to_rgb,
)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
WIDE = (GREY.astype(np.uint16) << 8) + 99


def big_endian_tiff(pixels: np.ndarray) -> bytes:
    """A grey TIFF as scanners write it; PIL itself writes little-endian files."""
    height, width = pixels.shape
    data = pixels.astype(">u2").tobytes()
    short = [(258, 16), (259, 1), (262, 1), (277, 1)]
    long = [(256, width), (257, height), (273, 8), (278, height), (279, len(data))]
    tags = sorted([(tag, 3, value << 16) for tag, value in short] + [(tag, 4, value) for tag, value in long])
    directory = b"".join(pack(">HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"MM\0*" + pack(">I", 8 + len(data)) + data + pack(">H", len(tags)) + directory + bytes(4)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        pytest.param(encode(Image.fromarray(GREY)), np.stack([GREY] * 3, axis=2), id="grey"),
        pytest.param(encode(Image.fromarray(RGB)), RGB, id="rgb"),
        pytest.param(encode(Image.fromarray(RGB), "BMP"), RGB, id="bmp"),
        pytest.param(encode(Image.fromarray(RGB), "WEBP", lossless=True), RGB, id="webp"),
        pytest.param(
            encode(Image.fromarray(WIDE)),
            np.stack([GREY] * 3, axis=2),
            id="16-bit png",
        ),
        pytest.param(
            encode(Image.fromarray(WIDE), "TIFF"),
            np.stack([GREY] * 3, axis=2),
            id="16-bit tiff",
        ),
        pytest.param(
            big_endian_tiff(WIDE),
            np.stack([GREY] * 3, axis=2),
            id="16-bit big-endian tiff",
        ),
        pytest.param(
            encode(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
            RGB,
            id="cmyk tiff",
        ),
        pytest.param(
            encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(np.full_like(GREY, 255))])),
            np.stack([GREY] * 3, axis=2),
            id="grey with alpha",
        ),
        pytest.param(
            encode(Image.fromarray(RGB[:2, :2]).quantize(4), transparency=bytes(4)),
            np.full_like(RGB[:2, :2], 255),
            id="a transparent palette",
        ),
        pytest.param(
            encode(Image.fromarray(WIDE), "PPM"),
            np.stack([GREY] * 3, axis=2),
            id="pgm",
        ),
        pytest.param(
            encode(Image.fromarray(GREY > 100)),
            np.where(GREY > 100, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2),
            id="bilevel",
        ),
        pytest.param(
            encode(Image.fromarray(RGB[:2, :2]).convert("P", palette=Image.Palette.ADAPTIVE)),
            RGB[:2, :2],
            id="palette",
        ),
        pytest.param(
            encode(Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)]))), RGB, id="opaque alpha"
        ),
        pytest.param(
            encode(Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)]))),
            np.full_like(RGB, 255),
            id="all transparent is white",
        ),
        pytest.param(
            encode(Image.fromarray(GREY), transparency=0),
            np.stack([np.where(GREY == 0, 255, GREY)] * 3, axis=2),
            id="a transparent grey",
        ),
        pytest.param(
            encode(Image.fromarray(WIDE), transparency=int(WIDE[1, 1])),
            np.stack([np.where(GREY[1, 1] == GREY, 255, GREY)] * 3, axis=2),
            id="a transparent 16-bit grey",
        ),
    ],
)
def test_every_mode_becomes_rgb(encoded, expected):
    pixels = decode(encoded)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)


def test_cmyk_is_converted():
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    np.testing.assert_allclose(decode(encode(red, "JPEG", quality=95)).mean((0, 1)), (200, 30, 30), atol=8)


def test_the_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by a quarter turn clockwise
    np.testing.assert_array_equal(decode(encode(Image.fromarray(RGB), exif=exif)), np.rot90(RGB, -1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_data_do_not_cost_the_image():
    encoded = encode(
        Image.fromarray(RGB), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"
    )
    check(encoded)
    assert decode(encoded).shape == RGB.shape


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((0x103, 4, 1, pack(">I", 70_000)), id="a number too large"),
        pytest.param((0x11A, 2, 4, b"72\0\0"), id="text in the place of a number"),
        pytest.param((0x8769, 4, 1, pack(">I", 9_999)), id="a pointer out of the file"),
    ],
)
def test_odd_exif_data_do_not_cost_the_image_nor_its_orientation(odd):
    entries = b"".join(pack(">HHI4s", *entry) for entry in sorted([odd, (0x112, 3, 1, pack(">HH", 6, 0))]))
    exif = b"Exif\0\0MM\0*" + pack(">IH", 8, 2) + entries + bytes(4)
    encoded = encode(Image.fromarray(RGB), "JPEG", quality=95, exif=exif)
    plain = decode(encode(Image.fromarray(RGB), "JPEG", quality=95))
    check(encoded)
    np.testing.assert_array_equal(decode(encoded), np.rot90(plain, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pil_turns_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF", "WEBP"):
        encoded = encode(Image.fromarray(RGB), kind, exif=exif, lossless=True)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(encoded))))
        np.testing.assert_array_equal(decode(encoded), expected)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    encoded = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    check(encoded)
    np.testing.assert_array_equal(decode(encoded), np.full((4, 4, 3), (255, 0, 0)))


def photo() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), "JPEG")


@pytest.mark.parametrize("read", [decode, check])
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>not found</html>", id="text"),
        pytest.param(encode(Image.fromarray(RGB))[:-30], id="cut png"),
        pytest.param(photo()[:20_000], id="cut jpeg"),
        pytest.param(encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"), id="float"),
        pytest.param(encode(Image.fromarray(GREY.astype(np.int32)), "TIFF"), id="32-bit"),
        pytest.param(encode(Image.fromarray(WIDE.astype(np.int32) << 8), "TIFF"), id="more than 16 bits"),
    ],
)
def test_what_is_no_whole_image_is_refused(encoded, read):
    with pytest.raises(UnreadableImageError):
        read(encoded)


def test_a_flipped_bit_in_a_png_is_found():
    encoded = bytearray(encode(Image.fromarray(RGB)))
    encoded[len(encoded) // 2] ^= 1
    with pytest.raises(UnreadableImageError):
        check(bytes(encoded))


@pytest.mark.parametrize("limit", [0.9, 0.4])
def test_an_image_over_the_limit_of_pixels_is_refused(limit):
    most = int(RGB[..., 0].size * limit)
    for read in (decode, check, lambda encoded, most: thumbnail(encoded, 8, most)):
        with pytest.raises(UnreadableImageError, match=rf"8 x 6 .* too many: over max_pixels={most}$"):
            read(encode(Image.fromarray(RGB)), most)
    assert decode(encode(Image.fromarray(RGB)), 48).shape == (6, 8, 3)


@pytest.mark.parametrize("share", [0.9, 0.4])
def test_the_limit_of_pil_does_not_count_and_is_kept(monkeypatch, share):
    encoded = encode(Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(RGB[..., 0].size * share))
    check(encoded)
    np.testing.assert_array_equal(decode(encoded), RGB)
    assert count_pixels(encoded) == 48
    assert int(RGB[..., 0].size * share) == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("most", "shape"), [(120_000, (300, 400)), (119_999, (150, 200)), (9_000, (75, 100)), (1, (38, 50))]
)
def test_a_large_jpeg_is_decoded_at_reduced_scale(monkeypatch, most, shape):
    monkeypatch.setattr("fused_clip.dataset.decode._WHOLE_PIXELS", most)
    assert decode(photo()).shape == (*shape, 3)
    whole = encode(Image.new("RGB", (400, 300)))
    assert decode(whole).shape == (300, 400, 3)


def test_a_photo_of_108_million_pixels_is_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = encode(Image.linear_gradient("L").resize((12_000, 9_000)), "JPEG", exif=exif)
    check(encoded)
    assert count_pixels(encoded) == 108_000_000
    pixels = decode(encoded)
    assert pixels.shape == (6_000, 4_500, 3)
    assert pixels[0, -1, 0] < 5 < 250 < pixels[0, 0, 0]


def test_no_jpeg_is_reduced_below_twice_the_largest_input():
    for short in range(656, 65_536, 17):  # to 1 of 100; a JPEG has at most 65,535 pixels a side
        for long in (short, min(65_535, 100 * short)):
            scale = reduction(short, long)
            assert scale == 1 or short // scale >= 2 * 336


@pytest.mark.parametrize(
    ("side", "shape"),
    [(151, (300, 400)), (150, (150, 200)), (76, (150, 200)), (75, (75, 100)), (37, (38, 50)), (1, (38, 50))],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_jpeg_is_reduced_as_long_as_its_short_side_keeps_enough(side, shape, turned):
    image, options = Image.linear_gradient("L").resize((400, 300)), {}
    if turned:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    for mode in ("L", "RGB", "CMYK"):
        encoded = encode(image.convert(mode), "JPEG", quality=95, **options)
        small = decode(encoded, side=side)
        assert small.shape == (*(shape[::-1] if turned else shape), 3)
        assert count_pixels(encoded, side=side) == pytest.approx(shape[0] * shape[1], rel=0.02)
        scale = round(300 / shape[0])
        mean = decode(encoded)[: 296 // scale * scale, : 296 // scale * scale].astype(float)
        blocks = mean.reshape(len(mean) // scale, scale, -1, scale, 3).mean(axis=(1, 3))
        assert np.abs(blocks - small[: len(blocks), : len(blocks)]).max() < 8, "it shows the same picture"


def test_only_a_jpeg_is_reduced():
    picture = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    for kind in ("PNG", "WEBP", "BMP", "TIFF", "GIF"):
        encoded = encode(picture, kind)
        assert decode(encoded, side=10).shape == (300, 400, 3)
        assert count_pixels(encoded, side=10) == 400 * 300
    several = BytesIO()
    picture.save(several, "MPO", save_all=True, append_images=[picture])
    assert decode(several.getvalue(), side=75).shape == (75, 100, 3)
    assert count_pixels(several.getvalue(), side=75) == 75 * 100


def test_the_limit_of_pixels_is_of_the_whole_jpeg():
    with pytest.raises(UnreadableImageError, match="400 x 300 pixels are too many"):
        decode(photo(), 100_000, side=10)


@pytest.mark.parametrize("size", [(101, 1), (1, 50_000), (3, 301)])
def test_an_image_that_is_too_thin_to_scale_is_refused(size):
    encoded = encode(Image.new("RGB", size))
    for read in (decode, check, lambda encoded: thumbnail(encoded, 8)):
        with pytest.raises(UnreadableImageError, match=f"{size[0]} x {size[1]} pixels are too thin"):
            read(encoded)
    with pytest.raises(UnreadableImageError, match="too thin"):
        to_rgb(Image.new("RGB", size))
    assert decode(encode(Image.new("RGB", (100, 1)))).shape == (1, 100, 3)


@pytest.mark.parametrize("encoded", [b"", b"<html>", b"\0" * 99])
def test_what_is_no_image_is_told_in_the_same_words_each_time(encoded):
    for read in (decode, check):
        with pytest.raises(UnreadableImageError, match=r"^it is no image of a kind that can be read$"):
            read(encoded)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(UnreadableImageError, match="no pixels"):
        to_rgb(Image.new("RGB", (0, 5)))


def test_an_open_image_is_read_as_its_file():
    exif = Image.Exif()
    exif[0x0112] = 6
    for encoded in (encode(Image.fromarray(RGB), exif=exif), encode(Image.fromarray(WIDE)), photo()):
        with Image.open(BytesIO(encoded)) as image:
            size = image.size
            np.testing.assert_array_equal(to_rgb(image), decode(encoded))
            assert image.size == size


def test_a_thumbnail_is_small_and_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        assert thumbnail(encode(Image.new("RGB", (400, 300)), kind, exif=exif), 40).size == (30, 40)


def test_what_is_whole_passes_the_check():
    check(photo())
    check(encode(Image.fromarray(WIDE)))


def test_threads_keep_the_order():
    assert list(map_threads(lambda number: number**2, range(50))) == [number**2 for number in range(50)]


def test_no_image_starts_a_program(monkeypatch):
    """PIL starts Ghostscript for an EPS, whatever its file is called."""
    monkeypatch.setattr("subprocess.check_call", pytest.fail)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true")
    page = encode(Image.new("RGB", (8, 8)), "EPS")
    assert page.startswith(b"%!PS")
    for read in (decode, check):
        with pytest.raises(UnreadableImageError, match="no image of a kind that can be read"):
            read(page)
