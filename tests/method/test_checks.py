"""What is refused, or said, before anything is embedded."""

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.vectors import Vectors
from fused_clip.method import checks, prompt
from fused_clip.method.clusterer import SpectralClustering
from fused_clip.method.pairing import Pairing
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


def test_a_graph_may_have_as_many_neighbours_as_rows(toy: ImageDataset) -> None:
    few = shortened(toy, 10)
    for neighbours, wrong in ((10, False), (11, True)):
        chosen = method(clusterer=SpectralClustering(n_neighbors=neighbours), clusters_per_target=1)
        if wrong:
            with pytest.raises(InputError, match=r"^clusterer\.n_neighbors: .*got 11"):
                checks.check(chosen, few, prompt.task(few), FakeBackbone())
        else:
            checks.check(chosen, few, prompt.task(few), FakeBackbone())


def test_words_of_another_language_are_named_to_a_backbone_that_reads_english(toy: ImageDataset) -> None:
    foreign = dataclasses.replace(toy, class_names=("кошка", "dog", "truck"), groups={})
    backbone = FakeBackbone()
    for language, said in (("English", True), (None, False)):
        backbone.language = language
        notes = checks.notes(foreign, prompt.task(foreign), backbone, audited=False)
        assert any("reads English" in text for _, text in notes) is said


def test_a_pairing_is_given_the_seed_of_the_run(toy: ImageDataset) -> None:
    def pairing(random_state: int = 0) -> Pairing:
        return Pairing(np.full(2, random_state))

    prompts = prompt.task(toy)
    rows = np.zeros((2, 5), np.float32)
    texts = np.zeros((3, 5), np.float32)
    paired = method(pairing=pairing, seed=7).pair(rows, texts, np.zeros(2, np.int64), prompts)
    assert paired is not None
    assert paired.prompts.tolist() == [7, 7]
