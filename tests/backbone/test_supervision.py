"""Which classes a backbone saw with labels: by set, and by name in any spelling."""

import dataclasses

import numpy as np
import pytest

from fused_clip.backbone import OpenClipBackbone
from fused_clip.backbone.supervision import seen_classes
from fused_clip.dataset.image_dataset import ImageDataset
from tests.conftest import make_dataset
from tests.fakes import FakeBackbone


def dataset(*names: str, origin: str = "photos") -> ImageDataset:
    labels = np.arange(len(names))
    made = make_dataset([labels, labels], names, {})
    splits = {name: dataclasses.replace(getattr(made, name), origin=origin) for name in ("train", "test")}
    return dataclasses.replace(made, **splits)


def seen(names: tuple[str, ...], *labelled: str) -> tuple[str, ...]:
    return seen_classes(dataset(*names), FakeBackbone(labelled_classes=frozenset(labelled)))


@pytest.mark.parametrize(
    ("name", "labelled"),
    [
        ("cat", "cat"),
        ("Cats", "cat"),
        ("a cat", "cat"),
        ("cat", "tabby, tabby cat"),
        ("truck", "pickup_truck"),
        ("pickup truck", "pickup_truck"),
        ("butterfly", "Butterflies"),
        ("fox", "foxes"),
        ("bus", "bus"),
        ("3", "three"),
        ("digit_3", "3"),
        ("Number three", "3"),
        ("03", "3"),
        ("tabby cat, tiger cat", "tabby cat"),
        ("tabby/tiger", "tiger"),
        ("猫", "猫"),
    ],
)
def test_a_class_is_seen_in_any_spelling_or_as_a_kind_of_it(name: str, labelled: str) -> None:
    assert seen((name, "other"), labelled) == (name,)


def test_a_class_is_seen_if_its_group_is() -> None:
    made, groups = dataset("gizmo", "doodad", "thing"), ("animals", "vehicles", "animals")
    backbone = FakeBackbone(labelled_classes=frozenset(["animal"]))
    assert seen_classes(made, backbone, groups) == ("gizmo", "thing")
    assert seen_classes(made, backbone) == ()


@pytest.mark.parametrize(
    ("name", "labelled"),
    [
        ("cat", "caterpillar"),
        ("cat", "cat food"),
        ("tabby cat", "cat"),
        ("1", "vehicles_1"),
        ("car", "automobile"),
        ("13", "3"),
        ("digit", "3"),
        ("...", "cat"),
    ],
)
def test_another_name_is_not_seen(name: str, labelled: str) -> None:
    assert seen((name, "other"), labelled) == ()


def test_all_classes_of_a_set_are_seen_whichever_split_and_whatever_they_are_called() -> None:
    backbone = FakeBackbone(trained_on=frozenset({"mnist/train"}))
    assert seen_classes(dataset("null", "eins", origin="mnist/test"), backbone) == ("null", "eins")
    assert seen_classes(dataset("null", "eins", origin="mnist2/test"), backbone) == ()


def test_the_shipped_backbone_saw_labels_of_its_classes_on_any_images() -> None:
    compact = OpenClipBackbone("compact")
    assert seen_classes(dataset("dog", "cat", "sofa"), compact) == ("dog", "cat")
    digits = tuple("0123456789")
    assert seen_classes(dataset(*digits, origin="digits"), compact) == digits
    assert seen_classes(dataset("cat", "dog", origin="cifar10/test"), compact) == ("cat", "dog")
    assert seen_classes(dataset("animals", "vehicle"), compact) == ("animals", "vehicle")
