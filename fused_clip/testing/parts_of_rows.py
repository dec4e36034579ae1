"""What text parts, pairings, fusions and clusterers must do with the rows of the sample."""

import copy
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fused_clip.estimator import PromptFusedClassifier
from fused_clip.method.embedding import embed_words
from fused_clip.method.fusion import Fusion
from fused_clip.method.parts import Method
from fused_clip.runner.build import make_method
from fused_clip.store import Store
from fused_clip.support.arrays import Array, IntArray
from fused_clip.testing.chosen import Chosen
from fused_clip.testing.sample import SampleRows, same, sample, some_labels


def check_text(chosen: Chosen) -> None:
    """Rows of the prompts' shape, finite, the same for one seed; nothing given is changed.

    Parameters
    ----------
    chosen : an option of the group ``text``.
    """
    given, method = sample(), make_method(chosen.options)
    for inputs in (given.inputs, replace(given.inputs, targets=some_labels(given.targets))):
        before = copy.deepcopy((inputs.texts, inputs.members, inputs.images, inputs.targets))
        rows, again = method.text_rows(inputs), method.text_rows(inputs)
        chosen.require(np.shape(rows) == inputs.texts.shape, f"must give rows of shape {inputs.texts.shape}")
        _check_floats(chosen, rows)
        chosen.require(same(rows, again), "must give the same rows for the same random_state")
        after = (inputs.texts, inputs.members, inputs.images, inputs.targets)
        _check_unchanged(chosen, before, after)


def check_pairing(chosen: Chosen) -> None:
    """A prompt for each image, the same for one seed; nothing given is changed.

    Parameters
    ----------
    chosen : an option of the group ``pairing``.
    """
    given, method = sample(), make_method(chosen.options)
    for targets in (given.targets, some_labels(given.targets)):
        before = copy.deepcopy((given.train, given.texts, targets))
        index, again = (_paired(method, given, targets) for _ in range(2))
        chosen.require(np.shape(index) == targets.shape, f"must give {len(targets)} prompts, one an image")
        chosen.require(np.issubdtype(index.dtype, np.integer), f"must give whole numbers, not {index.dtype}")
        inside = index.min() >= 0 and index.max() < len(given.texts)
        chosen.require(inside, f"must give prompts from 0 to {len(given.texts) - 1}")
        chosen.require(same(index, again), "must give the same prompts for the same random_state")
        _check_unchanged(chosen, before, (given.train, given.texts, targets))
    if not method.pairing_uses_labels:
        shuffled = np.random.default_rng(0).permutation(given.targets)
        unseen = same(_paired(method, given, given.targets), _paired(method, given, shuffled))
        chosen.require(unseen, "says uses_labels: false, so its prompts must not depend on labels")


def check_fusion(chosen: Chosen) -> None:
    """A finite row for each image, the same twice and by blocks if row-wise; nothing given is changed.

    Parameters
    ----------
    chosen : an option of the group ``fusion``.
    """
    given, fusion = sample(), make_method(chosen.options).fusion
    images, texts = given.train, given.texts[given.targets]
    before = copy.deepcopy((images, texts))
    fused = _fused(fusion, images, texts)
    chosen.require(np.ndim(fused) == 2 and len(fused) == len(images), "must give one row for each image")
    _check_floats(chosen, fused)
    chosen.require(same(fused, _fused(fusion, images, texts)), "must give the same rows twice")
    one = _fused(fusion, images, given.texts[0])
    chosen.require(one.shape == fused.shape, "must take one text row for all images, and keep the width")
    alone = fusion.fuse(fusion.inputs(images), None)
    chosen.require(alone.shape == images.shape, "must leave images alone where there is no text")
    halves = [_fused(fusion, images[part], texts[part]) for part in (slice(0, 50), slice(50, None))]
    by_blocks = not fusion.row_wise or same(fused, np.concatenate(halves), 1e-6)
    chosen.require(by_blocks, "says row_wise = True, so blocks of rows must give the same as all rows")
    _check_unchanged(chosen, before, (images, texts))


def check_clusterer(chosen: Chosen) -> None:
    """A cluster for each row, as many as asked for, the same for one seed; nothing given is changed.

    Parameters
    ----------
    chosen : an option of the group ``clusterer``.
    """
    given, method = sample(), replace(make_method(chosen.options), clusters_per_target=1)
    with TemporaryDirectory() as folder:
        clusterer = embed_words(method.clusterer, given.inputs.backbone, Store(folder))
    method = replace(method, clusterer=clusterer)
    before = copy.deepcopy((given.train, given.texts))
    labels, again = (_clusters(method, given) for _ in range(2))
    chosen.require(labels.shape == given.targets.shape, "must give a cluster for each row")
    chosen.require(same(labels, again), "must give the same clusters for the same random_state")
    found, asked = len(np.unique(labels[labels >= 0])), len(given.prompts.target_names)
    if {"n_clusters", "n_components"} & set(clusterer.get_params()):
        chosen.require(found == asked, f"must find the {asked} clusters of clear data, and found {found}")
    _check_unchanged(chosen, before, (given.train, given.texts))


def _paired(method: Method, given: SampleRows, targets: IntArray) -> Array:
    def partition(index: IntArray) -> IntArray:
        return index  # clusters that follow the prompts

    paired = method.pair(given.train, given.texts, targets, given.prompts, partition)
    return np.asarray([]) if paired is None else np.asarray(paired.prompts)


def _fused(fusion: Fusion, images: Array, texts: Array) -> Array:
    rows = np.atleast_2d(texts)
    prepared = fusion.inputs(rows)
    return fusion.fuse(fusion.inputs(images), prepared if np.ndim(texts) == 2 else prepared[0])


def _clusters(method: Method, given: SampleRows) -> IntArray:
    model = PromptFusedClassifier.of(method, given.prompts, given.texts).set_params(
        classifier=None, calibrate=False
    )
    return np.asarray(model.fit(given.train, given.targets).labels_)


def _check_floats(chosen: Chosen, rows: Any) -> None:
    kind = getattr(rows, "dtype", None)
    chosen.require(kind in (np.float32, np.float64), f"must give float32 or float64 rows, not {kind}")
    chosen.require(np.isfinite(rows).all(), "must give finite rows")


def _check_unchanged(chosen: Chosen, before: Any, after: Any) -> None:
    unchanged = all(
        same(np.asarray(first), np.asarray(second)) for first, second in zip(before, after, strict=True)
    )
    chosen.require(unchanged, "must not change the arrays that it is given")
