"""Reading, predicting and journalling, apart from the command line."""

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fused_clip import load_model
from fused_clip.model.saved import SavedModel
from fused_clip.predict.decoding import read
from fused_clip.predict.journal import Journal
from fused_clip.predict.sources import Item
from fused_clip.predict.stream import Wanted, predict_into
from tests.models import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return load_model(save_model(tmp_path_factory.mktemp("run")))


def encoded(side: int = 32) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Copies:
    """One image, many times."""

    count: int
    content: bytes

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Item]:
        return (Item(f"{row}.png", lambda: self.content) for row in range(self.count))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(model: SavedModel, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        journal = Journal(tmp_path / f"{count}.partial", {"format": 2}, fresh=False)
        tracemalloc.start()
        predict_into(journal, model, Copies(count, encoded()), Wanted())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(1 for _ in journal) == count
        return found

    peak(100)  # what is made once
    few, many = peak(400), peak(4_000)
    assert many < few + 200_000, "the records of 3,600 images alone would be 1 MB"


def test_an_image_that_can_not_be_prepared_does_not_stop_the_others() -> None:
    import torch

    def prepare(images: Sequence[np.ndarray]) -> torch.Tensor:
        if any(len(image) == 7 for image in images):
            raise RuntimeError("not enough memory: you tried to allocate 2259 GB")
        return torch.stack([torch.full((3, 2, 2), float(len(image))) for image in images])

    def content(side: int) -> bytes:
        if not side:
            raise OSError(13, "Permission denied")
        return encoded(side)

    sides = [4, 7, 5, 0, 6]
    items = [Item(str(side), partial(content, side)) for side in sides]
    batch = read(items, prepare)
    assert batch.paths == list(map(str, sides))
    why = "it can't be made the model's input (RuntimeError)"
    assert batch.errors == ["", why, "", "Permission denied", ""]
    assert torch.cat(batch.pixels)[:, 0, 0, 0].tolist() == [4, 5, 6]
