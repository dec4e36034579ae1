"""Every dataset option, as its YAML stands: names, groups, captions, and the real data where they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from fused_clip import dataset as package
from fused_clip.method.prompt import render
from fused_clip.support.signatures import keywords
from tests import loading

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "dataset").glob("*.yaml"))
IDS = [file.stem for file in OPTIONS]
# Fine-label indices of the standard alphabetical order, and the two groups, as published.
SUBSETS = {
    1: ("8 9 20 22 25 3 21 30 31 32", "object", "animal"),
    2: ("13 48 58 69 90 52 47 56 96 59", "vehicle", "plant"),
    3: ("1 26 30 32 45 6 7 14 18 24", "aquatic animal", "insect"),
    4: ("3 34 31 43 88 27 44 78 93 29", "mammal", "reptile"),
    5: ("65 66 67 3 34 52 47 56 96 59", "animal", "plant"),
}


def option(name: str) -> dict[str, Any]:
    given = dict(yaml.safe_load(next(file for file in OPTIONS if file.stem == name).read_text()))
    given.pop("defaults", None)
    return given


def load(name: str, **options: Any) -> package.ImageDataset:
    given = option(name) | options
    return loading.load(given.pop("_target_").removeprefix("fused_clip.dataset."), **given)


def test_the_options_are_all_there():
    named = {"mnist_5k", "digits", "mnist", "cifar10", "cifar100"}
    named |= {"imagefolder", "csv", "webdataset", "embeddings"}
    assert named | {f"cifar100_{index}" for index in SUBSETS} <= set(IDS)


@pytest.mark.parametrize("file", OPTIONS, ids=IDS)
def test_an_option_says_what_it_is_and_names_its_own_keys(file):
    assert file.read_text().startswith("# ")
    given = option(file.stem)
    target = getattr(package, given["_target_"].removeprefix("fused_clip.dataset."))
    assert set(given) - {"_target_"} <= {*keywords(target), *package.Recipe.model_fields}
    assert given["name"] == file.stem


@pytest.mark.parametrize("name", IDS)
def test_names_are_quoted_and_groups_hold_every_class_once(name):
    given = option(name)
    classes, groups = given.get("class_names", []), given.get("groups", {})
    members = [member for group in groups.values() for member in group]
    assert all(isinstance(text, str) for text in [*classes, *groups, *members])
    assert len(set(classes)) == len(classes)
    assert sorted(members) == sorted(classes)


@pytest.mark.parametrize("name", IDS)
def test_captions_can_be_filled(name):
    captions = option(name)["captions"]
    assert set(captions) == {"task", "grouped", "hierarchical", "generic"}
    for kind in ("task", "grouped", "hierarchical"):
        assert "owl" in render(captions[kind], "owl", group="bird")
    assert "bird" in render(captions["hierarchical"], "owl", group="bird")
    assert "{" not in captions["generic"]


@pytest.mark.parametrize(
    ("name", "strategy", "filling", "text"),
    [
        ("mnist", "task", ("0", ""), "This is a digit 0"),
        ("mnist", "grouped", ("even", ""), "This is a digit even"),
        ("mnist_5k", "hierarchical", ("3", "odd"), "This is a digit 3 odd"),
        ("digits", "generic", None, "This is a digit."),
        ("cifar10", "task", ("airplane", ""), "This is a airplane"),
        ("cifar10", "grouped", ("animal", ""), "This is a animal"),
        ("cifar10", "hierarchical", ("airplane", "vehicle"), "This is a airplane vehicle"),
        ("cifar10", "generic", None, "This is a thing."),
        ("cifar100_2", "task", ("pickup_truck", ""), "This is a pickup_truck"),
        ("cifar100_3", "grouped", ("aquatic animal", ""), "This is an aquatic animal"),
        ("cifar100_3", "grouped", ("insect", ""), "This is an insect"),
        ("cifar100_4", "hierarchical", ("elephant", "mammal"), "This is an elephant mammal"),
        ("cifar100", "generic", None, "This is a thing."),
    ],
)
def test_the_captions_are_the_published_ones(name, strategy, filling, text):
    template = option(name)["captions"][strategy]
    assert (template if filling is None else render(template, filling[0], group=filling[1])) == text


@pytest.mark.parametrize("index", SUBSETS)
def test_the_subsets_of_cifar100_are_the_published_indices(index):
    indices, *groups = SUBSETS[index]
    alphabetical = sorted(option("cifar100")["class_names"])
    chosen = [alphabetical[int(position)] for position in indices.split()]
    given = option(f"cifar100_{index}")
    assert given["class_names"] == chosen
    assert given["groups"] == dict(zip(groups, (chosen[:5], chosen[5:]), strict=True))


def test_the_neighbours_that_swap_prompts_are_the_published_ones():
    for name in IDS:
        expected = "next" if name.startswith("cifar100") else "previous"
        assert option(name).get("swap", "previous") == expected


def test_real_mnist_has_its_known_counts(real_data):
    dataset = load("mnist", data_dir=real_data)
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert np.bincount(dataset.test.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    halves = load("mnist", data_dir=real_data, from_split="test")
    assert np.abs(np.bincount(halves.train.labels) - np.bincount(halves.test.labels)).max() <= 1


@pytest.mark.parametrize("name", ["cifar10", "cifar100", *(f"cifar100_{index}" for index in SUBSETS)])
def test_real_cifar_is_balanced_and_small_colour_images(name, real_data):
    dataset = load(name, data_dir=real_data)
    assert dataset.class_names == tuple(option(name)["class_names"])
    for split in (dataset.train, dataset.test):
        assert len(set(np.bincount(split.labels))) == 1
    assert dataset.test.origin == f"{name.split('_')[0]}/test"
    assert {image.shape for image in dataset.test.images.read(dataset.test.rows[:20])} == {(32, 32, 3)}


def test_real_superclasses_are_those_of_the_coarse_labels(real_data):
    import datasets

    file = Path(real_data) / "cifar100" / "train-00000-of-00001.parquet"
    table = pq.read_table(file, columns=["fine_label", "coarse_label"])
    features = datasets.Features.from_arrow_schema(pq.read_schema(file))
    fine, coarse = features["fine_label"], features["coarse_label"]
    pairs = set(zip(table["fine_label"].to_pylist(), table["coarse_label"].to_pylist(), strict=True))
    assert load("cifar100", data_dir=real_data).groups == {
        fine.int2str(one): coarse.int2str(other) for one, other in pairs
    }


def test_the_first_real_labels_are_theirs(real_data):
    dataset = load("cifar100_4", data_dir=real_data)
    names = sorted(option("cifar100")["class_names"])
    file = Path(real_data) / "cifar100" / "test-00000-of-00001.parquet"
    fine = pq.read_table(file, columns=["fine_label"])["fine_label"].to_numpy()
    ours = [dataset.class_names[label] for label in dataset.test.labels]
    assert ours == [names[label] for label in fine[dataset.test.rows]]
