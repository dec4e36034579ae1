"""What is refused, or said, before anything is embedded."""

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method import checks, prompt
from fused_clip.support.errors import InputError
from tests.fakes import FakeBackbone
from tests.test_pipeline import method


def shortened(toy: ImageDataset, count: int) -> ImageDataset:
    train = dataclasses.replace(toy.train, rows=toy.train.rows[:count], labels=toy.train.labels[:count])
    return dataclasses.replace(toy, train=train)


@pytest.mark.parametrize(
    ("number", "count", "rule"),
    [
        (2, 5, "makes 6 clusters, which need as many training images; there are 5, got 2"),
        ("auto", 5, "makes 3 clusters, which need twice as many training images; there are 5, got 'auto'"),
        (2, 6, ""),
        ("auto", 6, ""),
    ],
)
def test_clusters_need_rows(toy: ImageDataset, number: Any, count: int, rule: str) -> None:
    few = shortened(toy, count)
    arguments = (method(clusters_per_target=number), few, prompt.task(few), FakeBackbone())
    if rule:
        with pytest.raises(InputError, match=f"^clusters_per_target: {rule}"):
            checks.check(*arguments)
    else:
        checks.check(*arguments)


def test_a_backbone_must_be_as_wide_as_the_vectors(toy: ImageDataset) -> None:
    def with_vectors(width: int) -> ImageDataset:
        rows = np.ones((len(toy.train), width), np.float32)
        images = Vectors(rows, tuple(map(str, range(len(rows)))))
        return dataclasses.replace(toy, train=dataclasses.replace(toy.train, images=images))

    narrow = with_vectors(3)
    with pytest.raises(InputError, match=r"^backbone: must have width 3, .* got '?5 \(fake\)"):
        checks.check(method(), narrow, prompt.task(toy), FakeBackbone())
    checks.check(method(), with_vectors(5), prompt.task(toy), FakeBackbone())


def test_images_that_are_left_out_are_named(toy: ImageDataset) -> None:
    skipped = dataclasses.replace(toy, skipped=("cat/1.jpg", "dog/2.jpg"))
    notes = checks.notes(skipped, prompt.task(toy), FakeBackbone(), audited=True)
    assert notes == ((logging.WARNING, "2 unreadable images are left out: cat/1.jpg, dog/2.jpg."),)
    assert checks.notes(toy, prompt.task(toy), FakeBackbone(), audited=True) == ()
