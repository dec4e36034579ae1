from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fused_clip.support.errors import InputError
from tests.loading import hub


@pytest.fixture
def pets(mirror: Path):
    """Load the small mirror with the given options."""

    def load(**options: object):
        return hub(
            **{"name": "pets", "path": "owner/pets", "image_column": "img", "data_dir": str(mirror)} | options
        )

    return load


def test_both_splits_are_read_whole(pets, mirror):
    dataset = pets()
    assert dataset.class_names == ("cat", "dog", "cow", "hen")
    assert (len(dataset.train), len(dataset.test)) == (40, 24)
    assert (dataset.train.origin, dataset.test.origin) == ("pets/train", "pets/test")
    assert dataset.source == f"mirror {mirror / 'pets'}"
    assert dataset.test.ids[:2] == ["pets/test/0", "pets/test/1"]
    assert dataset.skipped == ()


def test_a_subset_of_classes_has_its_parent_s_origin_and_images(pets, mirror):
    parent, subset = pets(), pets(name="some_pets", class_names=["hen", "dog"])
    assert subset.train.origin == "pets/train"
    assert subset.train.images.fingerprint == parent.train.images.fingerprint
    labels = pq.read_table(mirror / "pets" / "train-00000-of-00001.parquet")["label"].to_numpy()
    np.testing.assert_array_equal(labels[subset.train.rows], np.where(subset.train.labels == 0, 3, 1))
    assert subset.fingerprint != parent.fingerprint


def test_the_test_split_is_halved_with_every_class_in_both(pets, mirror):
    (mirror / "pets" / "train-00000-of-00001.parquet").unlink()
    dataset = pets(from_split="test", n_train=8)
    assert dataset.train.origin == dataset.test.origin == "pets/test"
    assert Counter(dataset.train.labels) == dict.fromkeys(range(4), 2)
    assert Counter(dataset.test.labels) == dict.fromkeys(range(4), 3)
    assert not set(dataset.train.rows) & set(dataset.test.rows)
    assert not np.array_equal(dataset.test.rows, pets(from_split="test", seed=1).test.rows)


def test_a_set_without_a_test_split_is_split_by_test_fraction(pets):
    dataset = pets(test_split=None, test_fraction=0.25)
    assert (len(dataset.train), len(dataset.test)) == (30, 10)
    assert dataset.test.origin == "pets/train"
    with pytest.raises(InputError, match=r"dataset\.from_split: must be null for pets"):
        pets(test_split=None, from_split="test")


def test_splits_may_have_other_names(pets, mirror):
    file = mirror / "pets" / "test-00000-of-00001.parquet"
    file.rename(file.with_name("validation-00000-of-00001.parquet"))
    assert pets(test_split="validation").test.origin == "pets/validation"


def test_without_a_path_the_folder_is_the_name(pets):
    assert len(pets(path=None).train) == 40
    with pytest.raises(InputError, match=r"dataset\.path: must be the id of a set on the hub, or data_dir"):
        pets(path=None, data_dir=None)


def test_a_named_mirror_is_never_passed_over_for_the_hub(pets, monkeypatch):
    monkeypatch.setattr(
        "fused_clip.dataset.hub_set.hugging_face",
        lambda *_: pytest.fail("the hub was asked for a mirror's set"),
    )
    with pytest.raises(InputError, match=r"^data_dir: the mirror must hold mnist/train"):
        pets(path="ylecun/mnist")


def test_sizes_groups_and_captions_are_passed_on(pets):
    dataset = pets(
        n_train=12, n_test=8, groups={"bird": ["hen"]}, captions={"task": "A {}"}, swap="next", seed=4
    )
    assert (len(dataset.train), len(dataset.test)) == (12, 8)
    assert dataset.groups == {"hen": "bird"}
    assert dataset.captions.task == "A {}"
    assert dataset.swap == "next"
