"""Stratified subsets and splits of exact size."""

import numpy as np

from fused_clip.support.arrays import BoolArray, IntArray
from fused_clip.support.errors import InputError


def allocate(counts: IntArray, n: int, *, least: IntArray | int = 1, spare: int = 0) -> IntArray:
    """Share `n` places among classes in proportion to their counts, by largest remainder.

    Parameters
    ----------
    counts : (C,) rows of each class.
    n : places to share out, in [sum(least), sum(counts - spare)].
    least : least places of each class, at most ``counts - spare``; one number or (C,).
    spare : rows left over in every class.

    Returns
    -------
    (C,) places of each class, in [least, counts - spare], with sum `n`; each differs by less than one from
    its proportional share if the bounds allow it.
    """
    share = counts * (n / counts.sum())
    places: IntArray = np.clip(np.floor(share).astype(np.int64), least, counts - spare)
    while missing := n - int(places.sum()):
        step = 1 if missing > 0 else -1
        room = places < counts - spare if step > 0 else places > least
        lag = np.where(room, (share - places) * step, -np.inf)
        most = np.argsort(-lag, kind="stable")[: min(abs(missing), int(room.sum()))]
        places[most] += step
    return places


def stratified_sample(labels: IntArray, n: int, seed: int, *, least: int = 0) -> IntArray:
    """Draw `n` ascending positions of `labels` (or all), each class in proportion to its rows.

    Parameters
    ----------
    labels : (N,) class of each row.
    n : size of the sample.
    seed : drives the sample.
    least : rows of each class, or all if it has fewer; the sample exceeds `n` if they need more places.
    """
    if len(labels) <= n:
        return np.arange(len(labels))
    _, kind, counts = np.unique(labels, return_inverse=True, return_counts=True)
    smallest = np.minimum(counts, least)
    places = allocate(counts, max(n, int(smallest.sum())), least=smallest)
    return _drawn(kind, counts, places, seed)


def disjoint_samples(labels: IntArray, known: BoolArray, rows: int, count: int, seed: int) -> list[IntArray]:
    """Draw `count` samples of `rows` rows, each class in proportion, without a row in common.

    Where few labels are known, they are up to half of a sample: too few for all samples, they are in several.

    Parameters
    ----------
    labels : (N,) class of each row, N >= count * rows.
    known : (N,) whether the label of each row may be used.
    rows : of a sample.
    count : of samples.
    seed : drives the samples.

    Returns
    -------
    `count` arrays of ascending positions.
    """
    labelled, others = np.flatnonzero(known), np.flatnonzero(~known)
    share = min(len(labelled), max(rows // 2, round(rows * len(labelled) / len(labels))))
    share = max(share, rows - len(others) // count)
    parts = zip(
        _dealt(labelled, labels, share, count, seed),
        _dealt(others, labels, rows - share, count, seed),
        strict=True,
    )
    return [np.sort(np.concatenate(both)) for both in parts]


def _dealt(positions: IntArray, labels: IntArray, each: int, count: int, seed: int) -> list[IntArray]:
    """Draw `count` samples of `each` of some positions, without one in common where there are enough."""
    if each == 0:
        return [positions[:0]] * count
    if count * each > len(positions):
        return [positions[stratified_sample(labels[positions], each, seed + one)] for one in range(count)]
    drawn = positions[stratified_sample(labels[positions], count * each, seed)]
    shuffled = np.random.default_rng(seed).permutation(drawn)
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return [dealt[start::count] for start in range(count)]


def stratified_subset(labels: IntArray, n: int, seed: int, *, option: str, spare: int = 0) -> IntArray:
    """Draw `n` ascending positions of `labels`, each class in proportion to its rows and with at least one.

    Parameters
    ----------
    labels : (N,) class index of each row.
    n : size of the subset.
    seed : drives the subset.
    option : name of the option that asks for it, for errors.
    spare : rows left over in every class.

    Raises
    ------
    InputError
        If `n` is larger than the rows available, or smaller than the number of classes present.
    """
    _, kind, counts = np.unique(labels, return_inverse=True, return_counts=True)
    most = len(labels) - spare * len(counts)
    if not len(counts) <= n <= most:
        rule = f"must be between {len(counts)} (the classes) and {most} (the images available)"
        raise InputError(option, rule, n)
    return _drawn(kind, counts, allocate(counts, n, spare=spare), seed)


def stratified_split(
    labels: IntArray, fraction: float, seed: int, *, option: str
) -> tuple[IntArray, IntArray]:
    """Split positions of `labels` in two: (train, test), both ascending, with every class in both.

    Parameters
    ----------
    labels : (N,) class index of each row.
    fraction : share of the test part, in (0, 1); its size is ``round(fraction * N)``.
    seed : drives the split.
    option : name of the option that asks for it, for errors.

    Raises
    ------
    InputError
        If either part would be smaller than the number of classes, or a class has a single row.
    """
    classes, counts = np.unique(labels, return_counts=True)
    n_test = round(fraction * len(labels))
    if counts.min() < 2 or not len(classes) <= n_test <= len(labels) - len(classes):
        rule = (
            "must leave every class at least one train and one test image"
            f" ({len(labels)} images, {len(classes)} classes, the smallest of {counts.min()})"
        )
        raise InputError(option, rule, fraction)
    test = stratified_subset(labels, n_test, seed, option=option, spare=1)
    return np.setdiff1d(np.arange(len(labels)), test, assume_unique=True), test


def _drawn(kind: IntArray, counts: IntArray, places: IntArray, seed: int) -> IntArray:
    """Draw `places` rows of each class, ascending."""
    order = np.random.default_rng(seed).permutation(len(kind))
    order = order[np.argsort(kind[order], kind="stable")]
    rank = np.arange(len(kind)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < np.repeat(places, counts)])
