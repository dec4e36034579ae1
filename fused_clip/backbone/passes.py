"""Passes of a tower over batches of one shape; where the device's memory runs out, over half as many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Tower: TypeAlias = "Callable[[Any], torch.Tensor]"
OPTION = "backbone.batch_size"


def padded_pass(tower: Tower, batch: torch.Tensor, size: int) -> FloatArray:
    """Embed up to `size` images or texts in one pass of `size` rows, the lacking ones copies of the last.

    Parameters
    ----------
    tower : model input to (size, dim).
    batch : (n, ...) model input, 1 <= n <= size.
    size : rows of the pass.

    Returns
    -------
    (n, dim) float32.
    """
    import torch

    lacking = size - len(batch)
    whole = torch.cat([batch, batch[-1:].expand(lacking, *batch.shape[1:])]) if lacking else batch
    rows: FloatArray = tower(whole)[: len(batch)].float().cpu().numpy()
    return rows


class ImagePasses:
    """Passes of image towers, halved for good the first time that the device's memory is too small.

    An embedding of half as many images in a pass is the same up to rounding.

    Parameters
    ----------
    device : where the towers are, for messages.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._halved = False

    def embed(self, tower: Tower, batch: torch.Tensor, size: int) -> FloatArray:
        """Embed images as `padded_pass` does.

        Parameters
        ----------
        tower, batch, size : as of `padded_pass`.

        Raises
        ------
        InputError
            If there is too little memory for half of `size` images, or for one.
        """
        import torch

        if not self._halved:
            try:
                return padded_pass(tower, batch, size)
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise no_room(self._device, 1) from error
            # Here the error is gone, and with it the tensors that its traceback refers to.
            self._halved = True
            half = "%s=%d does not fit in the memory of %s. Going on with %d: set %s=%d next time"
            log.warning(half, OPTION, size, self._device, _half(size), OPTION, _half(size))
        return self._in_halves(tower, batch, _half(size))

    def _in_halves(self, tower: Tower, batch: torch.Tensor, size: int) -> FloatArray:
        import torch

        parts = (batch[start : start + size] for start in range(0, len(batch), size))
        try:
            return np.concatenate([padded_pass(tower, part, size) for part in parts])
        except torch.OutOfMemoryError as error:
            raise no_room(self._device, size) from error


def no_room(device: str, size: int) -> InputError:
    """Make the error of images that do not fit in a device's memory.

    Parameters
    ----------
    device : where they do not fit.
    size : number of images.
    """
    rule = f"must be smaller: the memory of {device} does not fit a pass of this many images"
    smaller = f"Set {OPTION}={_half(size)} or less, " if size > 1 else ""
    hint = f"{smaller}end other programs on the device, or set backbone.device=cpu"
    return InputError(OPTION, rule, size, hint=hint[0].upper() + hint[1:])


def _half(size: int) -> int:
    return -(-size // 2)
