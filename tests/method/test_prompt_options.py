"""What the prompts of every option keep, found in ``conf/prompt``."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.method.prompt import Prompts
from fused_clip.runner.config import build, check
from fused_clip.support.conf import conf_dir
from tests.conftest import make_dataset
from tests.runner.test_config import composed

OPTIONS = [path.stem for path in sorted(conf_dir().glob("prompt/*.yaml"))]
TEXTS = "{cat: [a cat, a kitten], dog: [a dog], truck: [a truck]}"
NEEDS = {"custom": [f"prompt.texts={TEXTS}"]}


@pytest.fixture
def overrides(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Overrides that choose the option, with what it can't do without."""
    (tmp_path / "texts.yaml").write_text(TEXTS)
    own = NEEDS | {"descriptions": [f"prompt.file={tmp_path / 'texts.yaml'}"]}
    return [f"prompt={request.param}", *own.get(request.param, [])]


def made(overrides: list[str], dataset: ImageDataset) -> Prompts:
    prompts: Prompts = build(check(composed(*overrides)).prompt, dataset=dataset)
    return prompts


def text_of_class(prompts: Prompts, dataset: ImageDataset) -> dict[str, object]:
    """Target and texts of each class, by name."""
    own = prompts.prompt_of_target
    return {
        name: (
            prompts.target_names[target],
            None if own is None else frozenset(prompts.texts[own[target]]),
        )
        for name, target in zip(dataset.class_names, prompts.target_of_class, strict=True)
    }


@pytest.mark.parametrize("overrides", OPTIONS, indirect=True)
def test_prompts_stand_for_targets(overrides: list[str], toy: ImageDataset) -> None:
    prompts = made(overrides, toy)
    assert len(prompts.target_of_class) == len(toy.class_names)
    assert set(prompts.target_of_class) == set(range(len(prompts.target_names)))
    assert len(set(prompts.texts)) == len(prompts.texts)
    assert all(texts and all(texts) for texts in prompts.texts)
    if prompts.prompt_of_target is None:
        assert not prompts.texts
    else:
        assert prompts.prompt_of_target.shape == (len(prompts.target_names),)
        assert set(prompts.prompt_of_target) == set(range(len(prompts.texts)))
    again = made(overrides, toy)
    assert again.texts == prompts.texts


@pytest.mark.parametrize("overrides", [name for name in OPTIONS if name != "swapped"], indirect=True)
def test_the_order_of_classes_changes_no_text(overrides: list[str], toy: ImageDataset) -> None:
    names = ("truck", "cat", "dog")
    moved = make_dataset([np.repeat(range(3), 4), np.repeat(range(3), 2)], names, captions=toy.captions)
    assert text_of_class(made(overrides, moved), moved) == text_of_class(made(overrides, toy), toy)


@pytest.mark.parametrize("overrides", OPTIONS, indirect=True)
def test_prompts_are_of_the_classes_and_not_of_the_images(overrides: list[str], toy: ImageDataset) -> None:
    none = np.full(len(toy.train), -1)
    unlabelled = dataclasses.replace(toy, train=dataclasses.replace(toy.train, labels=none))
    assert made(overrides, unlabelled).texts == made(overrides, toy).texts
