"""Texts of prompts through a store, each once, and back to their prompts."""

from pathlib import Path

import numpy as np

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method import prompt
from fused_clip.method.embedding import embed, embed_members, embed_prompts
from fused_clip.store import Store
from tests.fakes import FakeBackbone


def test_each_prompt_has_the_rows_of_its_own_texts(toy: ImageDataset, tmp_path: Path) -> None:
    texts = {"cat": ["a cat", "a kitten", "puss"], "dog": "a dog", "truck": ["a truck", "a lorry"]}
    prompts, backbone, store = prompt.custom(toy, texts=texts), FakeBackbone(), Store(tmp_path)
    members = embed_members(prompts, backbone, store)
    for own, rows in zip(prompts.texts, members, strict=True):
        np.testing.assert_array_equal(rows, backbone.encode_texts(own))
    np.testing.assert_array_equal(embed_prompts(prompts, backbone, store)[1], members[1][0])
    assert embed_members(prompt.none(toy), backbone, store) == []
    assert embed_prompts(prompt.none(toy), backbone, store).shape == (0, 0)


def test_rows_of_a_dataset_are_those_of_its_images(toy: ImageDataset, tmp_path: Path) -> None:
    backbone = FakeBackbone()
    embedded = embed(toy, prompt.task(toy), backbone, Store(tmp_path))
    for split, rows in ((toy.train, embedded.train), (toy.test, embedded.test)):
        np.testing.assert_array_equal(rows, backbone.encode_images(list(split.images.read(split.rows))))
    np.testing.assert_array_equal(embedded.prompts, np.concatenate(embedded.members))
