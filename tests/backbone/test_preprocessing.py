"""The batched preprocessing against open_clip's own PIL transform."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fused_clip.backbone.preprocessing import DEFAULTS, Preprocessing
from fused_clip.support.errors import InputError

SIDES = st.integers(1, 90)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with edges, gradients and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) + np.cos(y / (5 - c)) for c in range(3)]
    pixels = np.stack(waves, axis=2) * 50 + 128 + rng.normal(0, 20, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 :] = (250, 5, 90)
    return pixels.clip(0, 255).astype(np.uint8)


def make(size: int = 32, **changes: Any) -> Preprocessing:
    return Preprocessing.from_config(size, DEFAULTS | changes)


def open_clip_transform(steps: Preprocessing) -> Callable[[Image.Image], torch.Tensor]:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    cfg = PreprocessCfg(
        size=steps.size,
        mean=steps.mean,
        std=steps.std,
        interpolation=steps.interpolation,
        resize_mode=steps.resize_mode,
        fill_color=steps.fill_color,
    )
    return image_transform_v2(cfg, is_train=False)  # type: ignore[no-any-return]


def levels(steps: Preprocessing, tensor: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: pixels in levels of 255."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (steps.mean, steps.std))
    return (tensor * std + mean) * 255


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, *, tall: bool) -> None:
    """Hold pixels to the stated tolerance; Pillow 13 resizes a tall image in the other order of sides."""
    difference = (ours - theirs).abs()
    assert difference.max() <= (16 if tall else 2.001)
    assert difference.mean() <= (0.3 if tall else 0.1)


@settings(deadline=None, max_examples=60)
@given(
    height=SIDES,
    width=SIDES,
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill=st.sampled_from([0, 77]),
)
def test_pixels_are_those_of_open_clips_pil_transform(
    height: int, width: int, mode: str, interpolation: str, fill: int
) -> None:
    assume(mode != "longest" or max(height, width) < 64 * min(height, width))  # open_clip rounds a side to 0
    steps = make(resize_mode=mode, interpolation=interpolation, fill_color=fill)
    image = picture(height, width)
    ours = levels(steps, steps([image])[0])
    theirs = levels(steps, open_clip_transform(steps)(Image.fromarray(image)))
    assert_close(ours, theirs, tall=height > width)


@pytest.mark.parametrize("size", [(224, 224), (40, 24)])
@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (300, 500), (601, 450)])
def test_pixels_are_open_clips_at_real_sizes(size: tuple[int, int], shape: tuple[int, int]) -> None:
    steps = replace(make(), size=size)
    image = picture(*shape)
    ours = levels(steps, steps([image])[0])
    theirs = levels(steps, open_clip_transform(steps)(Image.fromarray(image)))
    assert_close(ours, theirs, tall=shape[0] > shape[1])


def test_the_papers_preprocessing_squashes_bilinearly() -> None:
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    steps = make(resize_mode="shortest", interpolation="bicubic").as_in_paper()
    reference = Compose([Resize((32, 32)), ToTensor(), Normalize(steps.mean, steps.std)])
    image = picture(50, 80)
    ours, theirs = steps([image])[0], reference(Image.fromarray(image))
    assert (levels(steps, ours) - levels(steps, theirs)).abs().max() <= 1.001
    assert (ours - make()([image])[0]).abs().max() > 0.5


def test_images_of_mixed_sizes_keep_their_places() -> None:
    steps = make()
    images = [
        picture(*shape, seed=i) for i, shape in enumerate([(20, 30), (64, 64), (20, 30), (33, 9), (64, 64)])
    ]
    together = steps(images)
    assert together.shape == (5, 3, 32, 32)
    for row, image in zip(together, images, strict=True):
        assert torch.equal(row, steps([image])[0])


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_the_thinnest_image_still_gives_an_input(mode: str, shape: tuple[int, int]) -> None:
    assert torch.isfinite(make(resize_mode=mode)([picture(*shape)])).all()


def test_what_a_config_leaves_out_is_openais() -> None:
    steps = Preprocessing.from_config([20, 10], {"mean": [0.5] * 3, "std": None, "resize_mode": "squash"})
    assert steps.size == (20, 10)
    assert steps.mean == (0.5,) * 3
    assert steps.std == DEFAULTS["std"]
    assert (steps.interpolation, steps.resize_mode) == ("bicubic", "squash")


def test_the_dtype_is_the_one_asked_for() -> None:
    assert make()([picture(9, 9)]).dtype == torch.float32
    assert make()([picture(9, 9)], dtype=torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_anything_but_rgb_bytes_is_refused(bad: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"images: each must be a .*uint8, got .* at 1"):
        make()([picture(4, 4), bad])


def test_few_large_photos_are_resized_together_on_a_device() -> None:
    resize = Preprocessing.from_config(224, {})
    small, large = (np.zeros((*size, 3), np.uint8) for size in ((32, 32), (3_000, 4_000)))
    assert resize._together(small, "cuda") == 65_536
    assert resize._together(large, "cuda") == 5
    assert resize._together(large, "cpu") == resize._together(small, "cpu") == 8
