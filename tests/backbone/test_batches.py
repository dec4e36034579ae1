"""Embedding in batches: order, reading ahead, progress, and rows that must not get through."""

import hashlib
import threading
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fused_clip.backbone.batches import embed_images, embed_texts
from fused_clip.dataset import reading
from fused_clip.dataset.images import FileImages
from fused_clip.support.errors import InputError
from tests.conftest import ArrayRows
from tests.fakes import FakeBackbone

Rows = NDArray[np.int64]


class WatchedRows(ArrayRows):
    """Images that note which rows were read, and in which thread."""

    def __init__(self, count: int) -> None:
        super().__init__("watched", count)
        object.__setattr__(self, "reads", [])

    reads: list[tuple[list[int], bool]]

    def read(self, rows: Rows) -> list[NDArray[np.uint8]]:
        self.reads.append((rows.tolist(), threading.current_thread() is threading.main_thread()))
        return super().read(rows)


def blocks_of(*sizes: int) -> list[Rows]:
    ends = np.cumsum([0, *sizes])
    return [np.arange(low, high) for low, high in pairwise(ends)]


def test_blocks_come_in_order_and_are_the_backbones_rows() -> None:
    images, backbone = ArrayRows("toy", 40), FakeBackbone(batch_size=8)
    blocks = blocks_of(16, 16, 5)
    got = list(embed_images(backbone, images, blocks))
    assert [len(block) for block in got] == [16, 16, 5]
    want = FakeBackbone().encode_images(images.read(np.arange(37)))
    np.testing.assert_array_equal(np.concatenate(got), want)
    assert backbone.batches == [8, 8, 8, 8, 5]


def test_rows_are_read_in_whole_batches_a_little_ahead_and_beside_the_model() -> None:
    images = WatchedRows(80)
    stream = embed_images(FakeBackbone(batch_size=8), images, blocks_of(*[8] * 10))
    next(stream)
    assert 1 <= len(images.reads) <= 4
    assert all(not in_main for _, in_main in images.reads)
    assert len(list(stream)) == 9
    assert [rows for rows, _ in images.reads] == np.arange(80).reshape(10, 8).tolist()


def test_stopping_early_reads_no_further() -> None:
    images = WatchedRows(80)
    stream = embed_images(FakeBackbone(batch_size=8), images, blocks_of(*[8] * 10))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(images.reads) <= 4


def test_nothing_to_embed_gives_nothing() -> None:
    assert list(embed_images(FakeBackbone(), ArrayRows("toy", 3), [])) == []


class LargeRows(ArrayRows):
    def read(self, rows: Rows) -> list[NDArray[np.uint8]]:
        return [np.full((64, 64, 3), row % 256, dtype=np.uint8) for row in rows]


def peak_memory(images: int, folder: Path) -> int:
    """Largest number of bytes that Python and numpy hold while images of 12 kB become rows in a store."""
    rows, backbone = LargeRows("large", images), FakeBackbone(batch_size=8)
    tracemalloc.start()
    for block in embed_images(backbone, rows, blocks_of(*[64] * (images // 64))):
        np.save(folder / "rows.npy", block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peak_memory(64, tmp_path)  # what is imported and made once
    few, many = (peak_memory(images, tmp_path) for images in (256, 4096))
    assert many - few < 64 * 12_288, "3,840 more images take less than the room of 64"


@pytest.mark.parametrize("large", [True, False])
def test_memory_does_not_grow_with_the_size_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """Files of which a batch holds 32, and of which two may be in memory decoded."""
    shape = (120, 160, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise if large else np.ones(shape, np.uint8)).save(tmp_path / "1.png")
    digest = hashlib.sha256((tmp_path / "1.png").read_bytes()).digest()
    images = FileImages((tmp_path / "1.png",) * 96, tuple(map(str, range(96))), (digest,) * 96)
    monkeypatch.setattr(reading, "_PIXELS_AT_ONCE", 2 * 120 * 160)
    next(embed_images(FakeBackbone(batch_size=32), images, blocks_of(96)))  # what is imported once
    tracemalloc.start()
    rows = np.concatenate(list(embed_images(FakeBackbone(batch_size=32), images, blocks_of(96))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 96
    assert peak < 16 * noise.nbytes


def test_what_reading_complains_of_comes_through() -> None:
    class Broken(ArrayRows):
        def read(self, rows: Rows) -> list[NDArray[np.uint8]]:
            if 9 in rows:
                raise InputError("dataset.root", "must hold readable images", "broken.png")
            return super().read(rows)

    stream = embed_images(FakeBackbone(batch_size=4), Broken("toy", 20), blocks_of(8, 8))
    assert len(next(stream)) == 8
    with pytest.raises(InputError, match=r"broken\.png"):
        next(stream)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_a_bad_embedding_names_its_image(value: float) -> None:
    class Bad(FakeBackbone):
        def encode_prepared(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
            rows = super().encode_prepared(prepared)
            for row, image in zip(rows, np.concatenate(prepared), strict=True):
                if image[0] == 13:
                    row[1 if value else slice(None)] = value
            return rows

    with pytest.raises(InputError, match=r"finite and not zero; not so for toy/13\. Try"):
        list(embed_images(Bad(batch_size=4), ArrayRows("toy", 20), blocks_of(20)))


def test_a_bad_text_embedding_names_its_text() -> None:
    class Bad(FakeBackbone):
        def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array([[1, 2], [np.nan, 1]], np.float32)

    with pytest.raises(InputError, match="not so for 'second'"):
        embed_texts(Bad(), ["first", "second"])


def test_progress_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(embed_images(FakeBackbone(), ArrayRows("toy", 20), blocks_of(10), done=10))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    list(embed_images(FakeBackbone(), ArrayRows("toy", 20), blocks_of(10), done=10))
    shown = capsys.readouterr().err
    assert "fake: 100%" in shown
    list(embed_images(FakeBackbone(), ArrayRows("toy", 20), blocks_of(10), title="fake, test images"))
    assert "fake, test images: 100%" in capsys.readouterr().err
    assert "20/20" in shown
    assert "image/s" in shown
