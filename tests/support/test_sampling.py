import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fused_clip.support.errors import InputError
from fused_clip.support.sampling import (
    allocate,
    disjoint_samples,
    stratified_sample,
    stratified_split,
    stratified_subset,
)

labels_lists = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(
    lambda it: np.array(it, dtype=np.int64)
)
seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(labels_lists, seeds, st.data())
def test_a_subset_is_exact_ascending_and_proportional(labels, seed, data):
    classes, counts = np.unique(labels, return_counts=True)
    n = data.draw(st.integers(len(classes), len(labels)))
    chosen = stratified_subset(labels, n, seed, option="dataset.n_train")
    assert len(chosen) == n
    assert (np.diff(chosen) > 0).all()
    taken = np.array([(labels[chosen] == kind).sum() for kind in classes])
    assert (taken >= 1).all()
    share = counts * n / len(labels)
    if (share >= 1).all():
        assert (np.abs(taken - share) < 1).all()
    np.testing.assert_array_equal(chosen, stratified_subset(labels, n, seed, option="dataset.n_train"))


@settings(deadline=None)
@given(st.lists(st.integers(2, 60), min_size=2, max_size=8), st.floats(0.05, 0.95), seeds)
def test_a_split_is_disjoint_exact_and_has_every_class_in_both_parts(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n_test = round(fraction * len(labels))
    if not len(counts) <= n_test <= len(labels) - len(counts):
        with pytest.raises(InputError):
            stratified_split(labels, fraction, seed, option="dataset.test_fraction")
        return
    train, test = stratified_split(labels, fraction, seed, option="dataset.test_fraction")
    assert len(test) == n_test
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert set(labels[train]) == set(labels[test]) == set(range(len(counts)))


def test_equal_classes_are_split_equally():
    labels = np.repeat(np.arange(10), 500)
    train, test = stratified_split(labels, 0.2, 0, option="dataset.test_fraction")
    assert set(Counter(labels[train]).values()) == {400}
    assert set(Counter(labels[test]).values()) == {100}


def test_the_seed_decides_and_other_seeds_differ():
    labels = np.repeat(np.arange(4), 50)
    first, second = (stratified_subset(labels, 40, seed, option="dataset.n_train") for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_every_row_can_be_drawn():
    labels = np.repeat(np.arange(2), 10)
    drawn = [stratified_subset(labels, 4, seed, option="dataset.n_train") for seed in range(100)]
    assert set(np.concatenate(drawn)) == set(range(20))


def test_another_process_draws_the_same():
    code = (
        "import numpy as np; from fused_clip.support.sampling import stratified_subset as draw;"
        "print(draw(np.arange(300) % 7, 50, 3, option='n').tolist())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(stratified_subset(np.arange(300) % 7, 50, 3, option="n").tolist())


@pytest.mark.parametrize("n", [-1, 0, 2, 13])
def test_a_size_that_cannot_be_is_refused(n):
    with pytest.raises(InputError, match=r"dataset\.n_test: must be between 3 .* and 12"):
        stratified_subset(np.arange(12) % 3, n, 0, option="dataset.n_test")


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(InputError, match=r"dataset\.test_fraction: .*the smallest of 1"):
        stratified_split(np.array([0, 0, 0, 0, 1]), 0.4, 0, option="dataset.test_fraction")


def test_rare_classes_are_kept_at_the_cost_of_the_common_one():
    np.testing.assert_array_equal(allocate(np.array([1000, 2, 2, 2]), 6), [3, 1, 1, 1])


@given(labels_lists, st.integers(1, 100), st.integers(0, 2), seeds)
def test_a_sample_is_proportional_with_some_of_each_class(labels, size, least, seed):
    rows = stratified_sample(labels, size, seed, least=least)
    counts = np.bincount(labels, minlength=6)
    taken = np.bincount(labels[rows], minlength=6)
    smallest = np.minimum(counts, least)
    assert len(rows) == min(len(labels), max(size, smallest.sum()))
    assert (np.diff(rows) > 0).all()
    assert (taken >= smallest).all()
    if not least:
        assert (np.abs(taken - counts * len(rows) / len(labels)) < 1).all()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(4, 30), st.integers(1, 5), seeds)
def test_samples_are_disjoint_and_proportional(classes, rows, count, seed):
    labels = np.random.default_rng(seed).integers(0, classes, 200)
    samples = disjoint_samples(labels, np.ones(200, bool), rows, count, seed)
    assert [len(one) for one in samples] == [rows] * count
    assert len(set(np.concatenate(samples).tolist())) == rows * count
    share = np.bincount(labels, minlength=classes) * rows / 200
    for one in samples:
        assert (np.diff(one) > 0).all()
        assert (np.abs(np.bincount(labels[one], minlength=classes) - share) < 2).all()
    again = disjoint_samples(labels, np.ones(200, bool), rows, count, seed)
    np.testing.assert_array_equal(np.concatenate(samples), np.concatenate(again))


def test_few_labelled_rows_are_in_every_sample():
    known = np.zeros(100, bool)
    known[[3, 50, 99]] = True
    labels = np.where(known, 1, -1)
    samples = disjoint_samples(labels, known, 10, 4, 0)
    others = [sorted(set(one.tolist()) - {3, 50, 99}) for one in samples]
    assert [len(one) for one in others] == [7] * 4
    assert len({row for one in others for row in one}) == 28


@pytest.mark.parametrize("labelled", [0, 1, 4, 5, 6, 7, 30, 60, 97, 100])
def test_one_label_more_never_leaves_fewer_in_a_sample(labelled):
    known = np.arange(100) < labelled
    samples = disjoint_samples(np.where(known, 1, -1), known, 10, 4, 0)
    assert all(len(set(one.tolist())) == 10 for one in samples)
    assert {int(known[one].sum()) for one in samples} == {min(labelled, max(5, round(labelled / 10)))}
    many = np.concatenate(samples)
    assert len(set(many[~known[many]].tolist())) == (~known[many]).sum()
