import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.options import Captions
from fused_clip.method.classifier import Training, ZeroShot
from fused_clip.method.ensembles import mean_similarity
from fused_clip.method.waffle import waffle
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset
from tests.fakes import PixelBackbone


def test_all_classes_share_pairs_of_a_noun_and_characters(toy: ImageDataset) -> None:
    prompts = waffle(toy, pairs=4)
    random = [[text.partition(", which has ")[2] for text in texts] for texts in prompts.texts]
    assert random[0] == random[1] == random[2]
    assert len(set(random[0])) == 8
    assert all(re.fullmatch("[a-z]+", noun) for noun in random[0][::2])
    assert all(re.fullmatch("[a-z0-9]{4}", characters) for characters in random[0][1::2])  # cat, dog, truck
    assert prompts.texts[1][0].startswith("This is a dog, which has ")
    assert prompts.distinguishes_classes


def test_it_follows_its_seed(toy: ImageDataset) -> None:
    assert waffle(toy).texts == waffle(toy, seed=0).texts
    drawn = {waffle(toy, seed=seed).texts for seed in range(7)}
    assert len(drawn) == 7
    assert {len(texts) for prompts in drawn for texts in prompts} == {30}


def test_a_full_stop_stays_at_the_end(toy: ImageDataset) -> None:
    dotted = dataclasses.replace(toy, captions=Captions(task="a photo of a {}."))
    for text in waffle(dotted, pairs=1).texts[0]:
        assert re.fullmatch(r"a photo of a cat, which has \w+\.", text)


@given(order=st.permutations(range(3)), seed=st.integers(0, 5))
def test_classes_in_another_order_get_their_own_answers(order: list[int], seed: int) -> None:
    backbone = PixelBackbone(dim=16)
    names = np.array(["cat", "dog", "truck"])
    images = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    answers = []
    for own in (names, names[order]):
        prompts = waffle(make_dataset([[0, 1, 2], [0, 1, 2]], own.tolist()), pairs=3, seed=seed)
        rows = mean_similarity([backbone.encode_texts(texts) for texts in prompts.texts])
        training = Training(images, 3, texts=rows, prompt_of_target=prompts.prompt_of_target)
        scores = ZeroShot(normalize_texts=False).fit(training).target_scores(images)
        answers.append(own[scores.values.argmax(axis=1)])
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("pairs", "seed", "message"),
    [
        (0, 0, r"^prompt\.pairs: must be between 1 and 2\d\d, got 0"),
        (10_000, 0, r"^prompt\.pairs: must be between 1 and 2\d\d, got 10000"),
        (15, -1, r"^prompt\.seed: must be at least 0, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(toy: ImageDataset, pairs: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        waffle(toy, pairs=pairs, seed=seed)
