"""What a method gives to its parts."""

from typing import Any

import numpy as np
import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import prompt, text
from fused_clip.method.parts import TextInputs
from fused_clip.support.arrays import FloatArray, IntArray
from tests.conftest import Blobs
from tests.test_pipeline import FakeBackbone, method


def inputs_of(toy: ImageDataset, blobs: Blobs) -> TextInputs:
    members = [row[None] for row in blobs.texts]
    return TextInputs(
        blobs.texts, members, prompt.task(toy), blobs.train, blobs.train_targets, FakeBackbone()
    )


@pytest.mark.parametrize(
    ("changes", "of_task", "of_one", "of_none"),
    [
        ({"vote": "prompt"}, True, False, False),
        ({"vote": "prompt", "pairing_uses_labels": False}, False, False, False),
        ({"vote": "prompt", "pairing_uses_labels": False, "text_uses_labels": True}, True, True, False),
        ({"vote": "label", "pairing_uses_labels": False}, True, True, True),
        ({"vote": "hungarian", "pairing_uses_labels": False}, True, True, True),
    ],
)
def test_a_method_uses_labels_where_a_part_of_it_is_given_them(
    toy: ImageDataset, changes: dict[str, Any], of_task: bool, of_one: bool, of_none: bool
) -> None:
    parts = method(**changes)
    assert parts.uses_labels(prompt.task(toy)) == of_task
    assert parts.uses_labels(prompt.grouped(toy)) == of_task, "two prompts are paired, too"
    assert parts.uses_labels(prompt.generic(toy)) == of_one
    assert parts.uses_labels(prompt.none(toy)) == of_none


def test_a_control_is_drawn_by_the_seed_that_is_asked_for(toy: ImageDataset, blobs: Blobs) -> None:
    parts, inputs = method(text=text.rotated, seed=5), inputs_of(toy, blobs)
    np.testing.assert_array_equal(parts.text_rows(inputs), text.rotated(blobs.texts, 5))
    np.testing.assert_array_equal(parts.text_rows(inputs, 0), text.rotated(blobs.texts, 0))
    np.testing.assert_array_equal(parts.text_rows(inputs, 9), text.rotated(blobs.texts, 9))


def test_a_text_part_is_given_labels_only_if_it_says_so(toy: ImageDataset, blobs: Blobs) -> None:
    given: list[bool] = []

    def curious(texts: FloatArray, targets: IntArray | None = None) -> FloatArray:
        given.append(targets is not None)
        return texts

    for uses in (False, True):
        method(text=curious, text_uses_labels=uses).text_rows(inputs_of(toy, blobs))
    assert given == [False, True]


def test_a_text_part_of_templates_is_given_them_aligned(toy: ImageDataset, blobs: Blobs) -> None:
    def second(templates: FloatArray) -> FloatArray:
        return templates[:, 1]

    inputs = inputs_of(toy, blobs)
    members = [np.stack([row, -row]) for row in blobs.texts]
    several = TextInputs(**{**vars(inputs), "members": members})
    np.testing.assert_array_equal(method(text=second).text_rows(several), -blobs.texts)
