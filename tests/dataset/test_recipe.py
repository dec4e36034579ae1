import numpy as np
import pytest
from pydantic import ValidationError

from fused_clip.dataset.classes import Labelled, as_name
from fused_clip.dataset.images import ArrayImages
from fused_clip.dataset.options import Captions
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError

NAMES = ("cat", "dog", "cow", "hen")


def labelled(labels, names=NAMES, origin="pets/train"):
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), dtype=np.uint8)
    return Labelled(ArrayImages(pixels, origin), np.array(labels, dtype=np.int64), names, origin)


TRAIN = labelled([3, 0, 1, 2, 1, 0, 3, 2, 0, 1])
TEST = labelled([0, 1, 2, 3, 3, 2, 1, 0], origin="pets/test")


def make(**options):
    return Recipe(name="pets", **options).make([TRAIN, TEST], "memory")


def test_without_names_all_classes_of_the_data_are_used():
    dataset = make()
    assert dataset.class_names == NAMES
    np.testing.assert_array_equal(dataset.train.rows, np.arange(10))
    np.testing.assert_array_equal(dataset.train.labels, TRAIN.labels)
    assert (dataset.train.origin, dataset.test.origin) == ("pets/train", "pets/test")
    assert dataset.source == "memory"


def test_chosen_classes_are_rows_of_the_parent_in_the_order_given():
    dataset = make(class_names=["hen", "cat"])
    np.testing.assert_array_equal(dataset.train.rows, [0, 1, 5, 6, 8])
    np.testing.assert_array_equal(dataset.train.labels, [0, 1, 1, 0, 1])
    assert dataset.train.images is TRAIN.images


def test_classes_are_matched_by_name_between_splits():
    test = labelled([0, 1, 2], ("hen", "cow", "cat"), "pets/test")
    dataset = Recipe(name="pets").make([TRAIN, test], "")
    assert [dataset.class_names[label] for label in dataset.test.labels] == ["hen", "cow", "cat"]


def test_a_class_may_be_missing_in_one_split():
    test = labelled([0, 1, 0], ("cat", "dog"), "pets/test")
    dataset = Recipe(name="pets").make([TRAIN, test], "")
    assert dataset.class_names == NAMES
    assert set(dataset.test.labels) == {0, 1}


def test_a_split_without_names_of_its_own_has_those_of_the_other():
    dataset = Recipe(name="pets", class_names=["hen", "dog"]).make([TRAIN, labelled([3, 1, 0], None)], "")
    np.testing.assert_array_equal(dataset.test.rows, [0, 1])
    np.testing.assert_array_equal(dataset.test.labels, [0, 1])


def test_plain_integers_are_named_by_position():
    train, test = labelled([2, 0, 1, 2], None), labelled([0, 1], None)
    assert Recipe(name="x").make([train, test], "").class_names == ("0", "1", "2")
    assert Recipe(name="x", class_names=["a", "b", "c"]).make([train, test], "").class_names == (
        "a",
        "b",
        "c",
    )
    with pytest.raises(InputError, match=r"dataset\.class_names: must name each of the 3 integer labels"):
        Recipe(name="x", class_names=["a", "b"]).make([train, test], "")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dgo"], r"must be classes of the data, got 'dgo'.*did you mean 'dog'"),
        (["cat", "cat"], r"must be distinct, got \['cat'\]"),
        (["cat"], r"must be two classes or more"),
        ([], r"must be two classes or more"),
        (["cat", 1.5], r"must be classes of the data, got '1\.5'"),
    ],
)
def test_names_that_cannot_be_are_refused(names, message):
    with pytest.raises(InputError, match=r"dataset\.class_names: " + message):
        make(class_names=names)


def test_an_integer_is_the_name_of_its_digits():
    assert as_name("x", 0) == "0"
    digits = labelled([0, 1], ("0", "1"))
    assert Recipe(name="x", class_names=[1, 0]).make([digits, digits], "").class_names == ("1", "0")


@pytest.mark.parametrize("of_data", ["café", "cafe\u0301"])
@pytest.mark.parametrize("of_options", ["café", "cafe\u0301"])
def test_a_name_is_one_however_it_composes_its_accents(of_data, of_options):
    parts = [labelled([0, 1, 0, 1], ("bar", of_data)), labelled([0, 1], (of_data, "bar"))]
    options = {"class_names": [of_options, "bar"], "groups": {of_options: [of_options, "bar"]}}
    dataset = Recipe(name="x", **options).make(parts, "")
    assert dataset.class_names == ("café", "bar")
    assert dataset.groups == {"café": "café", "bar": "café"}
    assert dataset.train.labels.tolist() == [1, 0, 1, 0]
    assert dataset.test.labels.tolist() == [0, 1]
    renamed = Recipe(name="x", display_names={of_options: "tea", "bar": of_options}).make(parts, "")
    assert renamed.class_names == ("café", "tea")


def test_a_class_without_any_image_is_refused():
    few = labelled([0, 1, 0])
    with pytest.raises(InputError, match=r"every class needs an image, got \['cow', 'hen'\]"):
        Recipe(name="pets").make([few, few], "")
    assert Recipe(name="pets", class_names=["cat", "dog"]).make([few, few], "").class_names == ("cat", "dog")


def test_groups_are_turned_round_and_follow_the_classes_used():
    groups = {"bird": ["hen"], "mammal": ["cat", "dog", "cow"]}
    assert make(groups=groups).groups == {"cat": "mammal", "dog": "mammal", "cow": "mammal", "hen": "bird"}
    assert make(groups=groups, class_names=["hen", "cat"]).groups == {"hen": "bird", "cat": "mammal"}
    assert make(groups={"bird": ["hen"]}).groups == {"hen": "bird"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"bird": ["hen", "emu"]}, r"dataset\.groups\.bird: must list classes of the data, got 'emu'"),
        ({"bird": ["hen"], "food": ["hen"]}, r"dataset\.groups\.food: .*'bird' has it, got 'hen'"),
    ],
)
def test_groups_that_cannot_be_are_refused(groups, message):
    with pytest.raises(InputError, match=message):
        make(groups=groups)


def test_captions_replace_the_defaults():
    assert make().captions == Captions()
    assert make(captions={"task": "A {}"}).captions == Captions(task="A {}")
    assert make(captions=Captions(generic="Stuff")).captions.generic == "Stuff"


def test_swap_is_carried():
    assert make(swap="next").swap == "next"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"class_names": ["cat", True]}, ("class_names", 1)),
        ({"class_names": ["cat", None]}, ("class_names", 1)),
        ({"class_names": ["cat", ""]}, ("class_names", 1)),
        ({"groups": {"bird": "hen"}}, ("groups", "bird")),
        ({"groups": {"bird": []}}, ("groups", "bird")),
        ({"groups": {"bird": [False]}}, ("groups", "bird", 0)),
        ({"display_names": {"cat": None}}, ("display_names", "cat")),
        ({"captions": {"tsak": "A {}"}}, ("captions", "tsak")),
        ({"swap": "nxt"}, ("swap",)),
        ({"labels": "no"}, ("labels",)),
        ({"n_trian": 3}, ("n_trian",)),
    ],
)
def test_a_recipe_names_the_option_at_fault(options, place):
    with pytest.raises(ValidationError) as caught:
        make(**options)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_sizes_draw_rows_of_the_parent():
    dataset = make(n_train=8, n_test=4, seed=3)
    assert (len(dataset.train), len(dataset.test)) == (8, 4)
    np.testing.assert_array_equal(dataset.train.labels, TRAIN.labels[dataset.train.rows])
    assert set(dataset.test.labels) == {0, 1, 2, 3}
    for options, message in (({"n_train": 11}, "n_train"), ({"n_test": 3}, "n_test")):
        with pytest.raises(InputError, match=rf"dataset\.{message}: must be between"):
            make(**options)


def test_one_sequence_is_split_and_then_drawn_from():
    whole = labelled(np.repeat(range(4), 10))
    dataset = Recipe(name="pets", n_train=20, test_fraction=0.25).make([whole], "")
    assert (len(dataset.train), len(dataset.test)) == (20, 10)
    assert not set(dataset.train.rows) & set(dataset.test.rows)
    assert dataset.train.images is dataset.test.images
    halves = Recipe(name="pets", from_split="test").make([whole], "")
    assert (len(halves.train), len(halves.test)) == (20, 20)


def test_chosen_classes_of_one_sequence_are_rows_of_it():
    whole = labelled(np.arange(40) % 4)
    dataset = Recipe(name="pets", class_names=["hen", "dog"], test_fraction=0.5).make([whole], "")
    for split in (dataset.train, dataset.test):
        np.testing.assert_array_equal(whole.labels[split.rows], np.where(split.labels == 0, 3, 1))


@pytest.mark.parametrize("options", [{"test_fraction": 0.9}, {"from_split": "test"}])
def test_a_split_that_cannot_be_names_its_option(options):
    (option,) = options
    with pytest.raises(InputError, match=rf"dataset\.{option}: must leave every class"):
        Recipe(name="pets", **options).make([labelled([0, 1, 2, 3, 0, 1])], "")


def test_only_the_test_part_is_used_to_halve_it():
    assert Recipe(name="pets").used(["train", "test"]) == ["train", "test"]
    assert Recipe(name="pets", from_split="test").used(["train", "test"]) == ["test"]
    with pytest.raises(InputError, match=r"dataset\.from_split: must be null for pets"):
        Recipe(name="pets", from_split="test").used(["all"])


def test_splits_without_a_class_in_common_are_refused():
    with pytest.raises(InputError, match=r"train has \['cat', 'dog'\], test, got \['cow', 'hen'\]"):
        Recipe(name="pets").make([labelled([0, 1]), labelled([2, 3])], "")


def test_a_class_of_one_split_alone_is_told(caplog):
    Recipe(name="pets").make([labelled([0, 1, 2]), labelled([1, 2, 3])], "")
    assert "without a training image, never predicted where labels name the clusters: hen" in caplog.text
    assert "without a test image: cat" in caplog.text


def test_display_names_stand_for_those_of_the_data_everywhere():
    shown = {"cat": "tabby cat", "hen": "0"}
    dataset = make(display_names=shown, class_names=[0, "tabby cat"], groups={"pet": ["tabby cat", "dog"]})
    assert dataset.class_names == ("0", "tabby cat")
    assert dataset.groups == {"tabby cat": "pet"}
    np.testing.assert_array_equal(dataset.train.labels, make(class_names=["hen", "cat"]).train.labels)
    assert make(display_names={"cat": "dog", "dog": "cat"}).class_names == ("dog", "cat", "cow", "hen")


def test_display_names_name_plain_integers():
    parts = [labelled([1, 0, 1], None), labelled([0, 1], None)]
    assert Recipe(name="x", display_names={1: "one"}).make(parts, "").class_names == ("0", "one")


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ({"cta": "tabby"}, "must rename classes of the data, got 'cta'.*did you mean 'cat'"),
        ({"cat": "dog"}, r"must leave each class a name of its own, got \['dog'\]"),
    ],
)
def test_display_names_that_cannot_be_are_refused(shown, message):
    with pytest.raises(InputError, match=r"dataset\.display_names: " + message):
        make(display_names=shown)


def test_the_fingerprint_knows_names_rows_and_seed():
    prints = [make(**options).fingerprint for options in ({}, {"n_train": 5}, {"n_train": 5, "seed": 1})]
    assert len(set(prints)) == 3
    assert make().fingerprint == prints[0]
