"""Shifted images: other sets, altered pixels, other frequencies of classes."""

from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.guarantees.models import Made
from experiments.guarantees.sets import Altered, Pictures, Places, Pool, embed, pictures
from fused_clip.support.arrays import ImageArray

NONE = "none"
ALTERED = 2_000  # images of the pool whose pixels are altered; the others calibrate
RADII = (0.5, 1.0, 2.0)
LIGHTS = (0.75, 0.5, 0.25)
_OTHERS = {"mnist": ("fashion",), "cifar10": ("cifar100",)}


def kinds(dataset: str) -> list[str]:
    """Name the shifts of a data set, the weakest first.

    Parameters
    ----------
    dataset : ``mnist`` or ``cifar10``.
    """
    of_pixels = [*map(_blur_name, RADII), *map(_dark_name, LIGHTS)] if dataset == "cifar10" else []
    return [NONE, "half of the classes", *of_pixels, *_OTHERS[dataset]]


def shifted(kind: str, made: Made, backbone: str, places: Places) -> tuple[Pool, Pool, bool]:
    """Give images to draw calibration images from, others for new ones, and whether these have targets.

    Without a shift both are the whole pool, of which a draw takes each image once.

    Parameters
    ----------
    kind : of `kinds`.
    made : model and pool.
    backbone : its name.
    places : where the files are.
    """
    pool = made.pool
    if kind == NONE:
        return pool, pool, True
    rest = pool.take(np.arange(ALTERED, len(pool.rows)))
    if kind in ("fashion", "cifar100"):
        return rest, embed(pictures(kind, backbone, places), backbone, places), False
    some = np.arange(ALTERED)
    if kind == "half of the classes":
        return rest, pool.take(some[pool.labels[:ALTERED] < len(pool.names) // 2]), True
    held = made.prepared.dataset.test
    images = Altered(held.images, _ALTERATIONS[kind], kind)
    own = Pictures(images, held.rows[:ALTERED], pool.labels[:ALTERED], pool.names)
    return rest, embed(own, backbone, places), True


def _blur_name(radius: float) -> str:
    return f"blurred, {radius:g} pixels"


def _dark_name(light: float) -> str:
    return f"dark, {light:.0%} of the light"


def _blurred(image: ImageArray, radius: float) -> ImageArray:
    """A Gaussian blur whose standard deviation is `radius` pixels."""
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _darkened(image: ImageArray, light: float) -> ImageArray:
    """Every pixel value times `light`, rounded."""
    return np.round(image * light).astype(np.uint8)


_ALTERATIONS: dict[str, Callable[[ImageArray], ImageArray]] = {
    **{_blur_name(radius): partial(_blurred, radius=radius) for radius in RADII},
    **{_dark_name(light): partial(_darkened, light=light) for light in LIGHTS},
}
