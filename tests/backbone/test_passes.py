"""A device whose memory is too small for a batch, played by a tower that takes only so many images."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fused_clip import load_model
from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.passes import ImagePasses
from fused_clip.predict.journal import Journal
from fused_clip.predict.sources import find_source
from fused_clip.predict.stream import Wanted, predict_into
from fused_clip.support.errors import InputError
from tests.models import pictures, save_model
from tests.tiny_clip import save_tiny_clip


class SmallDevice:
    """A tower that takes at most `room` images, and notes how many it was asked for."""

    def __init__(self, tower: Any, room: int) -> None:
        self.tower = tower
        self.room = room
        self.passes: list[int] = []

    def __call__(self, pixels: torch.Tensor) -> Any:
        self.passes.append(len(pixels))
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.tower(pixels)


def shrink(backbone: Any, room: int) -> SmallDevice:
    """Leave the backbone's device room for so many images."""
    small = SmallDevice(backbone._towers.encode_image, room)
    backbone._towers.encode_image = small
    return small


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "tiny")


def make(clip: Path, batch_size: int = 8) -> OpenClipBackbone:
    return OpenClipBackbone(f"local-dir:{clip}", precision="float32", device="cpu", batch_size=batch_size)


def test_a_batch_that_does_not_fit_is_halved_once_and_the_rows_are_the_same(
    clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = pictures(21)[0]
    want = make(clip).encode_images(images)
    backbone = make(clip)
    small = shrink(backbone, 4)
    with caplog.at_level(logging.WARNING):
        rows = backbone.encode_images(images)
    np.testing.assert_allclose(rows, want, rtol=1e-5, atol=1e-6)
    assert small.passes == [8, *[4] * 6], "one pass fails; two for each batch of 8, 8 and 5"
    said = (
        "backbone.batch_size=8 does not fit in the memory of cpu. Going on with 4: set backbone.batch_size=4"
    )
    assert [record.message for record in caplog.records] == [f"{said} next time"]


@pytest.mark.parametrize(
    ("batch_size", "room", "passes", "hint"),
    [
        (8, 3, [8, 4], "got 4. Set backbone.batch_size=2 or less, end"),
        (1, 0, [1], "got 1. End other programs"),
    ],
)
def test_half_a_batch_that_does_not_fit_ends_with_the_option_to_set(
    clip: Path, batch_size: int, room: int, passes: list[int], hint: str
) -> None:
    backbone = make(clip, batch_size)
    small = shrink(backbone, room)
    with pytest.raises(
        InputError, match=f"^backbone.batch_size: must be smaller: the memory of cpu .*{hint}"
    ):
        backbone.encode_images(pictures(9)[0])
    assert small.passes == passes


def test_an_odd_batch_is_halved_upwards() -> None:
    small = SmallDevice(lambda pixels: 2 * pixels, 4)
    rows = ImagePasses("cpu").embed(small, torch.arange(14.0).reshape(7, 2), 7)
    np.testing.assert_array_equal(rows, 2 * np.arange(14.0).reshape(7, 2))
    assert small.passes == [7, 4, 4]


def test_predictions_are_those_of_a_device_with_enough_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number, image in enumerate(pictures(13)[0]):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number:02}.png")
    folder, found = save_model(tmp_path / "run"), []
    for room in (8, 4):
        model = load_model(folder, device="cpu")
        shrink(model.backbone, room)
        journal = Journal(tmp_path / f"{room}.partial", {"format": 2}, fresh=False)
        predict_into(journal, model, find_source(str(tmp_path / "photos")), Wanted())
        found.append([(record["path"], record["target"]) for record in journal])
    assert found[0] == found[1]
    assert len(found[0]) == 13
    assert "Going on with 4" in caplog.text


def test_photos_that_do_not_fit_before_the_first_pass_are_said(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("torchvision.transforms.v2.functional.resize", full)
    with pytest.raises(
        InputError, match=r"backbone\.batch_size: must be smaller.*Set backbone\.batch_size=4 or"
    ):
        make(clip).encode_images(pictures(8)[0])
