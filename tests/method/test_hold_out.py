"""Calibration images are taken out of the training split, and out of the budget of labels."""

from dataclasses import replace

import numpy as np
import pytest

from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.dataset.images import ArrayImages
from fused_clip.method.budget import LabelBudget
from fused_clip.method.hold_out import hold_out, refuse_seen
from fused_clip.support.errors import InputError


def dataset(counts: tuple[int, ...] = (30, 20, 10)) -> ImageDataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = ArrayImages(np.arange(len(labels) * 3, dtype=np.uint8).reshape(-1, 1, 1, 3), "own")
    train = Split(images, np.arange(len(labels)), labels, "own/train")
    return ImageDataset("own", train, replace(train, origin="own/test"), tuple("abcdef"[: len(counts)]))


def test_no_share_changes_nothing() -> None:
    data, labels = dataset(), LabelBudget(3)
    assert hold_out(data, labels, 0, 0) == (data, labels)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.9])
def test_the_splits_share_no_image_and_lose_none(share: float) -> None:
    data = dataset()
    found, budget = hold_out(data, LabelBudget(), share, 3)
    assert found.calibration is not None
    assert len(found.calibration) == round(share * 60)
    assert not set(found.calibration.rows) & set(found.train.rows)
    assert sorted([*found.calibration.rows, *found.train.rows]) == list(range(60))
    for split in (found.train, found.calibration):
        np.testing.assert_array_equal(split.labels, data.train.labels[split.rows])
    assert budget == LabelBudget()
    assert found.test is data.test
    assert found.splits == (found.train, found.test, found.calibration)
    assert found.fingerprint != data.fingerprint


def test_they_are_drawn_at_random_by_the_seed() -> None:
    rows = [hold_out(dataset(), LabelBudget(), 0.5, seed)[0].calibration for seed in (0, 0, 1)]
    drawn = [set(split.rows) for split in rows if split is not None]
    assert drawn[0] == drawn[1] != drawn[2]
    shares = []
    for seed in range(200):
        split = hold_out(dataset(), LabelBudget(), 0.5, seed)[0].calibration
        assert split is not None
        shares.append((split.labels == 2).sum())
    assert np.mean(shares) == pytest.approx(5, abs=0.4), "as frequent as in training"
    assert np.std(shares) > 0.8, "by chance, not in exact shares"


def test_they_have_a_label_where_only_some_images_have_one() -> None:
    data = dataset()
    labels = np.where(np.arange(60) % 3, -1, data.train.labels)
    found, _ = hold_out(replace(data, train=replace(data.train, labels=labels)), LabelBudget(), 0.5, 0)
    assert found.calibration is not None
    assert len(found.calibration) == 10
    assert found.calibration.labelled
    assert len(found.train) == 50


def test_they_come_out_of_a_budget_of_labels() -> None:
    found, budget = hold_out(dataset(), LabelBudget(8, seed=4), 0.25, 0)
    assert found.calibration is not None
    np.testing.assert_array_equal(np.bincount(found.calibration.labels), [2, 2, 2])
    assert budget == LabelBudget(6, seed=4)
    assert (budget.known(found.train.labels) >= 0).sum() == 18


def test_without_labels_they_have_none() -> None:
    found, _ = hold_out(dataset(), LabelBudget(0), 0.25, 0)
    assert found.calibration is not None
    assert (found.calibration.labels == -1).all()
    assert (found.train.labels >= 0).all()


@pytest.mark.parametrize(
    ("budget", "share", "message"),
    [
        (LabelBudget(2), 0.1, "must hold out some of 2 labels a class, and leave some; it holds out 0"),
        (LabelBudget(1), 0.9, "must hold out some of 1 labels a class, and leave some; it holds out 1"),
        (LabelBudget(), 0.001, "must hold out some of 60 training images, and leave some; it holds out 0"),
    ],
)
def test_none_or_all_is_refused(budget: LabelBudget, share: float, message: str) -> None:
    with pytest.raises(InputError, match=f"^calibration.share: {message}"):
        hold_out(dataset(), budget, share, 0)


def test_a_budget_that_a_class_cannot_fill_is_refused_first() -> None:
    with pytest.raises(InputError, match=r"^labels.per_class: must be at most"):
        hold_out(dataset(), LabelBudget(15), 0.5, 0)


@pytest.mark.parametrize(
    ("origin", "trained_on", "refused"),
    [
        ("mnist/train", {"mnist/train"}, True),
        ("mnist/mnist_5k", {"mnist/train"}, True),
        ("mnist/test", {"mnist/train"}, False),
        ("mnist/test", {"mnist/train", "mnist/test"}, True),
        ("digits", {"mnist/train"}, False),
        ("cifar10/train", {"mnist/train"}, False),
    ],
)
def test_images_that_the_backbone_was_trained_on_are_refused(
    origin: str, trained_on: set[str], refused: bool
) -> None:
    split = replace(dataset().train, origin=origin)
    if not refused:
        refuse_seen(split, trained_on)
        return
    with pytest.raises(InputError, match=r"^calibration.share: needs images .* trained on mnist/"):
        refuse_seen(split, trained_on)
