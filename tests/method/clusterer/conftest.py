"""Real digits for the tests of the clusterers."""

import numpy as np
import pytest

from fused_clip.dataset.embedded import read_mnist_5k


@pytest.fixture(scope="session")
def mnist_5k():
    """5,000 real digits: pixels in [0, 255], (5000, 784), and classes."""
    pixels, classes = read_mnist_5k()
    return pixels.reshape(-1, 784), classes


@pytest.fixture(scope="session")
def digits(mnist_5k):
    """2,000 real digits, projected to 64 axes, and their classes."""
    pixels, classes = mnist_5k
    random = np.random.default_rng(0)
    rows = random.choice(len(pixels), 2000, replace=False)
    return pixels[rows] / 255 @ random.standard_normal((784, 64)) / 28, classes[rows]


@pytest.fixture(params=["connected", "disconnected"])
def rows(request, digits):
    """The digits as they are, or each class moved far away, as text does."""
    projected, classes = digits
    if request.param == "connected":
        return projected
    return projected + 3 * np.random.default_rng(1).standard_normal((10, 64))[classes]


@pytest.fixture
def mapped(tmp_path):
    """Write rows to a file and map it."""

    def write(rows):
        np.save(tmp_path / "rows.npy", rows)
        return np.load(tmp_path / "rows.npy", mmap_mode="r")

    return write
