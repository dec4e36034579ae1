"""Pixels to model input in batches: the result of open_clip's PIL transform, faster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fused_clip.backbone.passes import no_room
from fused_clip.support.arrays import ImageArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch

# OpenAI's preprocessing, which open_clip assumes where tag and config leave a value out.
DEFAULTS: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
_VALUES_AT_A_TIME = 1_250_000  # of model input on a CPU, so that intermediate results stay in the cache
_PIXELS_AT_A_TIME = 1 << 26  # of photos on another device: a gigabyte while they are resized


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop or pad, and normalise.

    Resizing is antialiased, along rows first, and rounds to 8 bits: a pixel differs from PIL's by at most 2
    levels of 255, less than .1 on average. Pillow 13 resizes images higher than wide along columns first:
    there by at most 16 levels, at overshoots, .3 on average.

    Parameters
    ----------
    size : (height, width) of the model's input, in pixels.
    mean, std : of each channel, in [0, 1] units.
    interpolation : ``bicubic`` or ``bilinear``.
    resize_mode : ``shortest``: the short side to `size`, then a centre crop; ``longest``: the long side
        to `size`, then padding with `fill_color`; ``squash``: both sides to `size`.
    fill_color : level in [0, 255].
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bicubic", "bilinear"]
    resize_mode: Literal["shortest", "longest", "squash"]
    fill_color: int = 0

    @classmethod
    def from_config(cls, image_size: int | Sequence[int], config: Mapping[str, Any]) -> Preprocessing:
        """Read the model's own preprocessing.

        Parameters
        ----------
        image_size : side of a square input, or (height, width).
        config : open_clip's keys; an absent or null one is OpenAI's.
        """
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        chosen = {name: config.get(name) or default for name, default in DEFAULTS.items()}
        chosen |= {name: tuple(chosen[name]) for name in ("mean", "std")}
        return cls(size=(height, width), **chosen)

    @property
    def reduced_side(self) -> int:
        """Pixels that the short side of a JPEG decoded at reduced size keeps at least: twice the model's."""
        return 2 * max(self.size)

    def as_in_paper(self) -> Preprocessing:
        """Squash to the input size, bilinear, without a crop, as in the paper's code."""
        return replace(self, interpolation="bilinear", resize_mode="squash")

    def __call__(
        self, images: Sequence[ImageArray], *, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Turn n (height, width, 3) uint8 images of any sizes into (n, 3, *size).

        Parameters
        ----------
        images : n images.
        device : of the result, where images are resized.
        dtype : of the result; None for torch's default.

        Raises
        ------
        InputError
            If something is no image, or the device's memory is too small.
        """
        import torch

        try:
            return self._prepared(images, device, dtype)
        except torch.OutOfMemoryError as error:
            raise no_room(device, len(images)) from error

    def _prepared(self, images: Sequence[ImageArray], device: str, dtype: torch.dtype | None) -> torch.Tensor:
        import torch

        shape = (len(images), 3, *self.size)
        out = torch.empty(shape, device=device, dtype=dtype, memory_format=torch.channels_last)
        # Lines of interleaved channels are long enough for vector instructions.
        lines = out.permute(0, 2, 3, 1).flatten(2)
        scale, shift = (torch.tensor(v, device=device).repeat(self.size[1]) for v in self._affine())
        for group in _by_shape(images):
            at_a_time = self._together(images[group[0]], device)
            for start in range(0, len(group), at_a_time):
                chunk = group[start : start + at_a_time]
                stacked = _moved(torch.from_numpy(np.stack([images[i] for i in chunk])), device)
                pixels = self._resize(stacked.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(2)
                lines[chunk] = pixels.float().mul_(scale).add_(shift).to(out.dtype)
        return out

    def _together(self, image: ImageArray, device: str) -> int:
        """Number of images like one that are prepared together."""
        if device == "cpu":
            return max(1, _VALUES_AT_A_TIME // (3 * self.size[0] * self.size[1]))
        height, width, _ = image.shape
        return int(max(1, _PIXELS_AT_A_TIME // (height * width)))

    def _affine(self) -> tuple[list[float], list[float]]:
        """(level / 255 - mean) / std as one product and one sum."""
        channels = list(zip(self.mean, self.std, strict=True))
        return [1 / (255 * std) for _, std in channels], [-mean / std for mean, std in channels]

    def _resize(self, pixels: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional

        size = self._resized(pixels.shape[-2], pixels.shape[-1])
        pixels = functional.resize(pixels, size, InterpolationMode(self.interpolation), antialias=True)
        if self.resize_mode == "longest":
            spare = [max(0, want - got) for want, got in zip(self.size, pixels.shape[-2:], strict=True)]
            top, left = spare[0] // 2, spare[1] // 2
            padding = [left, top, spare[1] - left, spare[0] - top]
            pixels = functional.pad(pixels, padding, fill=self.fill_color)
        cropped: torch.Tensor = functional.center_crop(pixels, list(self.size))
        return cropped

    def _resized(self, height: int, width: int) -> list[int]:
        """(height, width) before the crop, rounded as open_clip's transforms round it."""
        if self.resize_mode == "squash":
            return list(self.size)
        if self.resize_mode == "shortest" and self.size[0] == self.size[1]:
            side, short = self.size[0], min(height, width)
            return [int(side * height / short), int(side * width / short)]
        ratios = height / self.size[0], width / self.size[1]
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        return [max(1, round(height / ratio)), max(1, round(width / ratio))]


def _moved(pixels: torch.Tensor, device: str) -> torch.Tensor:
    """Pixels on the device; CUDA copies them from pinned memory while the CPU goes on."""
    if not device.startswith("cuda"):
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def _by_shape(images: Sequence[ImageArray]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            rule = "each must be a (height, width, 3) array of uint8"
            raise InputError("images", rule, f"{image.shape} of {image.dtype} at {i}")
        groups[image.shape].append(i)
    return list(groups.values())
