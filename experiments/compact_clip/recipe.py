"""Pixels to loss: augmentation, the sum of softmaxes, and the average of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.compact_clip.captions import Contrast

if TYPE_CHECKING:
    from experiments.compact_clip.settings import Settings

#: Largest shift (share of the side), zoom, turn (degrees) and whether left and right may be swapped.
CIFAR_MOTION = {"shift": 0.125, "zoom": 0.12, "turn": 6.0, "flip": True}
DIGIT_MOTION = {"shift": 0.1, "zoom": 0.12, "turn": 12.0, "flip": False}


def to_unit(images: np.ndarray) -> Tensor:
    """Turn (n, h, w) or (n, h, w, 3) uint8 pixels into (n, 3, h, w) float32 in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(images))
    x = x[:, None].expand(-1, 3, -1, -1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
    return x.float().div_(255)


def resize(unit: Tensor, size: int) -> Tensor:
    """Squash (n, 3, h, w) to (n, 3, size, size) as inference does (bilinear, antialiased)."""
    return functional.interpolate(unit, (size, size), mode="bilinear", antialias=True)


def augment(unit: Tensor, size: int, digits: bool, generator: torch.Generator) -> Tensor:
    """Shift, zoom, turn and (but for digits) flip, relight and cut out; (n, 3, h, w) in [0, 1] to `size`.

    One resampling does the motion and the resize: with no motion it equals `resize`, since images only grow.
    """
    n, motion = len(unit), DIGIT_MOTION if digits else CIFAR_MOTION

    def draw(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * 2 - 1

    angle, zoom = draw() * motion["turn"] * torch.pi / 180, 1 + draw() * motion["zoom"]
    side = torch.where(draw() > 0, 1.0, -1.0) if motion["flip"] else torch.ones(n)
    cos, sin, shift = torch.cos(angle) * zoom, torch.sin(angle) * zoom, draw(2) * 2 * motion["shift"]
    theta = torch.stack([cos * side, -sin, shift[:, 0], sin * side, cos, shift[:, 1]], 1).view(n, 2, 3)
    grid = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    moved = functional.grid_sample(unit, grid, padding_mode="border", align_corners=False)
    if digits:
        return moved
    light, contrast = draw(1, 1, 1) * 0.15, 1 + draw(1, 1, 1) * 0.2
    return _cut_out((moved - 0.5) * contrast + 0.5 + light, draw(2), side_share=0.3).clamp_(0, 1)


def _cut_out(images: Tensor, centre: Tensor, side_share: float) -> Tensor:
    """Grey out one square of each image (n, 3, s, s); `centre` (n, 2) is in [-1, 1]."""
    axis = torch.linspace(-1, 1, images.shape[-1])
    rows, columns = ((axis[None] - centre[:, i : i + 1]).abs() < side_share for i in (0, 1))
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.5)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Apply the mean and std of the model's preprocessing to (n, 3, s, s), in channels-last order."""
    shape = (1, 3, 1, 1)
    out = (images - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return out.contiguous(memory_format=torch.channels_last)


class CaptionLoss(nn.Module):
    """Weighted sum of the softmaxes of `contrasts`; each counts every image it concerns, once."""

    def __init__(self, contrasts: list[Contrast], settings: Settings) -> None:
        super().__init__()
        weights = {"all": 0.5, "mnist": 1.0, "cifar10": 1.0, "cifar100": 1.0}
        self.smoothing = settings.label_smoothing
        self.terms = [
            (
                torch.tensor(contrast.concepts),
                torch.tensor(contrast.target_of_class),
                weights.get(contrast.name, settings.group_weight),
            )
            for contrast in contrasts
        ]

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss of `logits` (n, concepts), scaled, for images of `classes` (n,)."""
        total = logits.new_zeros(())
        for concepts, target_of_class, weight in self.terms:
            target = target_of_class[classes]
            concerned = target >= 0
            if concerned.any():
                total = total + weight * functional.cross_entropy(
                    logits[concerned][:, concepts],
                    target[concerned],
                    label_smoothing=self.smoothing,
                    reduction="sum",
                )
        return total / len(logits)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `model`; early steps move faster, so that the random start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
