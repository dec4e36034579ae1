import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fused_clip import InputError, load_model
from fused_clip.tracking.shared_embedder import SharedEmbedder
from tests.fakes import FakeBackbone
from tests.models import save_model
from tests.records import png


class Held(FakeBackbone):
    """Does not embed before it is let go, so that callers queue."""

    def __init__(self, **changes: object) -> None:
        super().__init__(**changes)  # type: ignore[arg-type]
        self.begun = threading.Event()
        self.gone = threading.Event()

    def encode_prepared(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        self.begun.set()
        assert self.gone.wait(30)
        return super().encode_prepared(prepared)


class Fragile(Held):
    """Has no memory for a black image."""

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if any(not image.any() for image in images):
            raise RuntimeError("no memory")
        return super().prepare(images)


def embed(embedder: SharedEmbedder, contents: list[bytes]) -> NDArray[np.float32]:
    return embedder.embed([f"image {n}" for n in range(1, len(contents) + 1)], contents)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def png_of(value: int) -> bytes:
    return png(colour=(value, value, value))  # type: ignore[arg-type]


def test_rows_are_those_of_the_model(tmp_path: Path) -> None:
    model = load_model(save_model(tmp_path, batch_size=4))
    contents = [
        png(colour) for colour in ("red", "green", "blue", "teal", "navy", "black", "white", "pink", "tan")
    ]
    embedder = SharedEmbedder(model.require_backbone())
    wanted = model.embed(contents)
    np.testing.assert_array_equal(embed(embedder, contents), wanted)
    np.testing.assert_array_equal(embed(embedder, contents[4:5]), wanted[4:5])
    assert embed(embedder, []).shape == (0, wanted.shape[1])


def test_what_waits_is_embedded_in_one_batch() -> None:
    backbone = Held(batch_size=8)
    embedder = SharedEmbedder(backbone)  # type: ignore[arg-type]
    assert backbone.loads == 1
    wanted = FakeBackbone()
    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(embed, embedder, [png_of(1)])
        assert backbone.begun.wait(30)
        others = [callers.submit(embed, embedder, [png_of(n), png_of(n + 10)]) for n in range(2, 7)]
        until(lambda: len(embedder._waiting) == len(others))
        backbone.gone.set()
        assert first.result()[0, 0] == wanted.encode_images([np.full((1, 1, 3), 1, np.uint8)])[0, 0]
        for n, other in zip(range(2, 7), others, strict=True):
            images = [np.full((1, 1, 3), value, np.uint8) for value in (n, n + 10)]
            np.testing.assert_array_equal(other.result(), wanted.encode_images(images))
    assert backbone.batches == [1, 8, 2], "a job is not parted"


def test_large_requests_let_others_in_between() -> None:
    backbone = Held(batch_size=2)
    embedder = SharedEmbedder(backbone)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as callers:
        large = callers.submit(embed, embedder, [png_of(n) for n in range(1, 8)])
        assert backbone.begun.wait(30)
        small = callers.submit(embed, embedder, [png_of(9)])
        until(lambda: len(embedder._waiting) == 1)
        backbone.gone.set()
        assert len(small.result()) == 1
        assert len(large.result()) == 7
    assert backbone.batches[:2] == [2, 1]


def test_a_bad_image_fails_its_own_request_alone() -> None:
    backbone = Fragile(batch_size=8)
    embedder = SharedEmbedder(backbone)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(embed, embedder, [png_of(1)])
        assert backbone.begun.wait(30)
        asked = [
            [png_of(2)],
            [png_of(3), b"none", b"nor this"],
            [png_of(0)],
        ]
        found = [callers.submit(embed, embedder, contents) for contents in asked]
        until(lambda: len(embedder._waiting) == len(found))
        backbone.gone.set()
        assert len(first.result()) == len(found[0].result()) == 1
        with pytest.raises(InputError, match=r"^images: image 2 can't be read \(it is no image"):
            found[1].result()
        with pytest.raises(RuntimeError, match="no memory"):
            found[2].result()


def test_an_embedding_that_is_none_fails_its_request() -> None:
    backbone = FakeBackbone()
    backbone.encode_prepared = lambda prepared: np.array([[1.0], [np.nan]], np.float32)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="image 2 has an embedding that is not finite"):
        embed(SharedEmbedder(backbone), [png_of(1), png_of(2)])  # type: ignore[arg-type]
