import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.options import Captions
from fused_clip.method import prompt
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset


def test_task_gives_each_class_its_own_prompt(toy: ImageDataset) -> None:
    prompts = prompt.task(toy)
    assert prompts.texts == (("This is a cat",), ("This is a dog",), ("This is a truck",))
    assert prompts.target_names == ("cat", "dog", "truck")
    assert prompts.prompt_of_target is not None
    assert prompts.prompt_of_target.tolist() == [0, 1, 2]
    assert prompts.distinguishes_targets


def test_grouped_makes_groups_the_targets(toy: ImageDataset) -> None:
    prompts = prompt.grouped(toy)
    assert prompts.texts == (("This is a animal",), ("This is a vehicle",))
    assert prompts.target_of_class.tolist() == [0, 0, 1]


def test_article_agrees_with_the_name_where_the_template_asks_for_it(toy: ImageDataset) -> None:
    for template in ("This is {a} {}", "This is {an} {}"):
        asking = dataclasses.replace(toy, captions=Captions(grouped=template))
        assert prompt.grouped(asking).texts == (("This is an animal",), ("This is a vehicle",))


@pytest.mark.parametrize(("swap", "expected"), [("previous", [2, 0, 1]), ("next", [1, 2, 0])])
def test_swapped_takes_a_neighbours_prompt(toy: ImageDataset, swap: str, expected: list[int]) -> None:
    prompts = prompt.swapped(dataclasses.replace(toy, swap=swap))
    assert prompts.prompt_of_target is not None
    assert prompts.prompt_of_target.tolist() == expected
    assert prompts.texts == prompt.task(toy).texts
    assert not prompts.distinguishes_targets


def test_generic_has_one_prompt_for_all(toy: ImageDataset) -> None:
    prompts = prompt.generic(toy)
    assert prompts.texts == (("This is a thing.",),)
    assert prompts.prompt_of_target is not None
    assert prompts.prompt_of_target.tolist() == [0, 0, 0]


def test_none_has_no_text(toy: ImageDataset) -> None:
    prompts = prompt.none(toy)
    assert prompts.texts == ()
    assert prompts.prompt_of_target is None


def test_hierarchical_names_class_and_group(toy: ImageDataset) -> None:
    assert prompt.hierarchical(toy).texts[2] == ("This is a truck vehicle",)


def test_subclasses_make_an_ensemble_of_each_group(toy: ImageDataset) -> None:
    prompts = prompt.subclasses(toy)
    assert prompts.texts == (("This is a cat", "This is a dog"), ("This is a truck",))
    assert prompts.target_names == prompt.grouped(toy).target_names
    assert prompts.target_of_class.tolist() == [0, 0, 1]
    assert prompts.distinguishes_targets


def test_groups_of_one_class_have_the_task_prompts(toy: ImageDataset) -> None:
    single = dataclasses.replace(toy, groups={name: f"group of {name}" for name in toy.class_names})
    assert prompt.subclasses(single).texts == prompt.task(toy).texts


@pytest.mark.parametrize("strategy", ["grouped", "hierarchical", "subclasses"])
def test_a_class_without_a_group_is_named(strategy: str) -> None:
    dataset = make_dataset([[0, 1], [0, 1]], ("cat", "dog"), {"cat": "animal"})
    rule = rf"dataset\.groups: every class needs a group for prompt={strategy}, and these have none: dog"
    with pytest.raises(InputError, match=rule):
        getattr(prompt, strategy)(dataset)


def test_custom_mixes_texts_and_templates(toy: ImageDataset) -> None:
    prompts = prompt.custom(toy, texts={"cat": ["a cat", "a kitten"]}, templates=["a photo of a {}"])
    assert prompts.texts == (("a cat", "a kitten"), ("a photo of a dog",), ("a photo of a truck",))


def test_custom_knows_a_name_however_it_composes_its_accents() -> None:
    dataset = make_dataset([[0, 1], [0, 1]], ("café", "bar"), {})
    prompts = prompt.custom(dataset, texts={"cafe\u0301": "a cup", "bar": "a glass"})
    assert prompts.texts == (("a cup",), ("a glass",))


def test_custom_groups_are_targets(toy: ImageDataset) -> None:
    prompts = prompt.custom(toy, texts={"animal": "alive", "vehicle": "moving"}, targets="group")
    assert prompts.target_names == ("animal", "vehicle")


def test_custom_writes_names_with_spaces_on_request() -> None:
    dataset = make_dataset([[0, 1], [0, 1]], ("pickup_truck", "cat"), {})
    prompts = prompt.custom(dataset, templates=["a {}"], replace_underscores=True)
    assert prompts.texts[0] == ("a pickup truck",)
    assert prompts.target_names[0] == "pickup_truck"


@pytest.mark.parametrize(
    ("texts", "templates", "message"),
    [
        ({"cow": "moo"}, ["a {}"], r"prompt\.texts: must name targets.*got 'cow'.*cat, dog, truck"),
        ({"cat": "miaow"}, [], r"'dog' has none"),
        ({"cat": "a pet", "dog": "a pet"}, ["a {}"], r"'cat' and 'dog' must have different prompts"),
        ({}, ["a photo"], r"prompt\.templates: must contain \{\}"),
        ({}, ["a {colour} {}"], r"fields are \{\}"),
        ({}, ["a {"], r"must be a template"),
        ({}, ["{:>999999999}"], r"^prompt\.templates: must be a template .*, got '\{:>9"),
        ({}, ["{0.__class__}"], r"must be a template"),
        ({}, ["{0[0]}"], r"must be a template"),
        ({}, ["{!r}"], r"must be a template"),
        ({}, ["{a:{a}}{}"], r"must be a template"),
        ({}, ["{} {}"], r"must be a template"),
        ({"cat": ""}, ["a {}"], r"^prompt\.texts\.cat: must not be blank, got ''"),
        ({"cat": ["a cat", " "]}, ["a {}"], r"^prompt\.texts\.cat: must not be blank, got \['a cat', ' '\]"),
    ],
)
def test_custom_refuses_what_does_not_fit(
    toy: ImageDataset, texts: dict[str, str], templates: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prompt.custom(toy, texts=texts, templates=templates)


def test_a_template_without_a_place_for_the_name_is_refused(toy: ImageDataset) -> None:
    with pytest.raises(InputError, match=r"dataset\.captions\.task: must contain \{\}"):
        prompt.task(dataclasses.replace(toy, captions=Captions(task="This is a thing")))


@pytest.mark.parametrize("caption", ["", " ", "a {}", "a {"])
def test_the_one_text_for_all_is_a_text(toy: ImageDataset, caption: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.captions\.generic: must be a text without fields, got"):
        prompt.generic(dataclasses.replace(toy, captions=Captions(generic=caption)))


def test_swapped_needs_two_classes() -> None:
    with pytest.raises(InputError, match="at least two classes"):
        prompt.swapped(make_dataset([[0], [0]], ("cat",), {}))


@given(st.text(min_size=1, max_size=30))
def test_render_keeps_any_name_whole(name: str) -> None:
    assert prompt.render("This is {a} {}", name).endswith(f" {name}")


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=12, unique=True))
def test_swapped_is_a_derangement_for_any_classes(names: list[str]) -> None:
    prompts = prompt.swapped(make_dataset([[0], [0]], names, {}))
    assert prompts.prompt_of_target is not None
    assert sorted(prompts.prompt_of_target) == list(range(len(names)))
    assert (prompts.prompt_of_target != np.arange(len(names))).all()


def test_an_unknown_label_stays_unknown(toy: ImageDataset) -> None:
    prompts = prompt.grouped(toy)
    assert prompts.targets(np.array([2, -1, 0, 1])).tolist() == [1, -1, 0, 0]


@pytest.mark.parametrize("strategy", ["task", "grouped", "hierarchical"])
def test_a_caption_without_a_place_for_the_name_is_named(toy: ImageDataset, strategy: str) -> None:
    dataset = dataclasses.replace(toy, captions=Captions.model_construct(**{strategy: "an image"}))
    with pytest.raises(InputError, match=rf"^dataset\.captions\.{strategy}: "):
        getattr(prompt, strategy)(dataset)
