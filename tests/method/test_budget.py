import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fused_clip.method.budget import LabelBudget
from fused_clip.method.classifier import Training
from fused_clip.method.classifier.validation import validation_split
from fused_clip.support.errors import InputError
from tests.conftest import make_dataset

LABELS = st.lists(st.integers(-1, 4), min_size=1, max_size=80).map(np.array)


@settings(deadline=None)
@given(LABELS, st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_a_budget_hides_all_but_its_labels(labels, per_class, seed):
    known = LabelBudget(per_class, seed).known(labels)
    assert (known[known >= 0] == labels[known >= 0]).all()
    for kind in range(5):
        assert (known == kind).sum() == min(per_class, (labels == kind).sum())


@settings(deadline=None)
@given(LABELS, st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_a_larger_budget_of_the_same_seed_holds_the_smaller_one(labels, per_class, seed):
    small, large = (LabelBudget(count, seed).known(labels) for count in (per_class, per_class + 3))
    assert (large[small >= 0] == small[small >= 0]).all()


def test_no_budget_hides_nothing():
    labels = np.array([0, 2, 1, -1])
    assert LabelBudget().known(labels).tolist() == labels.tolist()


def test_seeds_draw_other_rows():
    labels = np.zeros(200, int)
    drawn = {tuple(np.flatnonzero(LabelBudget(2, seed).known(labels) >= 0)) for seed in range(20)}
    assert len(drawn) > 15


def test_a_class_with_fewer_images_than_labels_asked_for_is_named():
    dataset = make_dataset([np.array([0, 0, 1]), np.array([0, 1])], ("cat", "dog"))
    LabelBudget(1).check(dataset)
    with pytest.raises(InputError, match=r"labels\.per_class: must be at most .*'dog' has 1, got 2"):
        LabelBudget(2).check(dataset)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 1000))
def test_validation_rows_come_out_of_the_labels(per_class, n_classes, seed):
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.repeat(np.arange(n_classes), per_class), np.full(30, -1)])
    images = rng.normal(size=(len(targets), 3))
    split = validation_split(Training(images, n_classes, targets=targets, random_state=seed))
    if per_class < 2:
        assert split is None
        return
    labelled = {tuple(row) for row in images[targets >= 0].tolist()}
    fitted, held_out = ({tuple(row) for row in rows.tolist()} for rows in (split.images, split.held_out))
    assert not fitted & held_out
    assert fitted | held_out == labelled
    counts = np.bincount(split.held_out_targets, minlength=n_classes)
    expected = min(4, per_class // 2) if per_class < 20 else round(per_class / 5)
    assert (abs(counts - expected) <= (per_class >= 20)).all()


def test_rows_of_a_leak_take_the_place_of_held_out_ones():
    leaked = np.ones((2, 3)), np.array([0, 1])
    targets = np.array([0, 1, 0, 1])
    training = Training(np.zeros((4, 3)), 2, targets=targets, leaked={"epochs": leaked})
    split = validation_split(training, "epochs")
    assert len(split.images) == 4
    assert split.held_out is leaked[0]
    assert len(validation_split(training).held_out) == 2
