"""What datasets and backbones must give."""

from collections import Counter
from typing import Any

import numpy as np

from fused_clip.backbone.base import Backbone
from fused_clip.dataset.image_dataset import ImageDataset, Split
from fused_clip.dataset.vectors import Vectors
from fused_clip.runner.build import make_dataset
from fused_clip.runner.config import build
from fused_clip.support.arrays import FloatArray
from fused_clip.support.errors import InputError
from fused_clip.testing.chosen import Chosen
from fused_clip.testing.sample import same, sample_dataset

_MOST = 50  # images of a split that are looked at
_TOLERANCE = 1e-3  # of a model's float32 sums, in batches of another size


def check_dataset(chosen: Chosen) -> None:
    """Two disjoint splits with stable names, classes and a fingerprint, and readable images.

    Parameters
    ----------
    chosen : an option of the group ``dataset``.
    """
    options = chosen.options
    if options.dataset.target == "fused_clip.dataset.hub" and options.data_dir is None:
        raise chosen.skip("its images come from the hub; data_dir=FOLDER names a mirror")
    try:
        dataset, again = (make_dataset(options.dataset, options.data_dir) for _ in range(2))
    except InputError as error:
        if error.option in ("dataset.path", "dataset.root", "data_dir"):
            raise chosen.skip(error) from error  # files of the user's
        raise
    chosen.require(isinstance(dataset, ImageDataset), "must make a fused_clip.ImageDataset")
    chosen.require(dataset.fingerprint == again.fingerprint, "must have the same fingerprint twice")
    names = [split.ids for split in dataset.splits]
    chosen.require(names == [split.ids for split in again.splits], "must name its images the same twice")
    listed = Counter(name for some in names for name in some)
    chosen.require(listed.most_common(1)[0][1] == 1, "each image must have a name of its own, in one split")
    chosen.require(len(set(dataset.class_names)) == len(dataset.class_names), "class_names must be distinct")
    for split in dataset.splits:
        _check_split(chosen, split, len(dataset.class_names))
    _check_subset(chosen, dataset)


def check_backbone(chosen: Chosen) -> None:
    """Finite float32 rows that depend neither on the batch nor on the order, and a stable fingerprint.

    Parameters
    ----------
    chosen : an option of the group ``backbone``.
    """
    options = chosen.options.backbone
    try:
        backbone, again = (build(options, dataset=sample_dataset()) for _ in range(2))
        _refuse_download(chosen, backbone)
        backbone.check()
    except InputError as error:
        raise chosen.skip(error) from error
    chosen.require(backbone.fingerprint == again.fingerprint, "must have the same fingerprint twice")
    chosen.require(backbone.batch_size >= 1, "batch_size must be at least 1")
    for name in ("trained_on", "labelled_classes"):
        chosen.require(isinstance(getattr(backbone, name), frozenset), f"{name} must be a frozenset of names")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (side, 2 * side, 3), dtype=np.uint8) for side in (8, 60, 300)]
    _check_rows(
        chosen, backbone, "images", images, lambda some: backbone.encode_prepared([backbone.prepare(some)])
    )
    texts = ["a photo of a cat", "a dog", "trucks"]
    _check_rows(chosen, backbone, "texts", texts, backbone.encode_texts)


def _check_split(chosen: Chosen, split: Split, n_classes: int) -> None:
    chosen.require(
        len(split.rows) == len(split.labels) > 0, "each split must have a label for each image, or -1"
    )
    inside = split.labels.min() >= -1 and split.labels.max() < n_classes
    chosen.require(inside, f"labels must be from 0 to {n_classes - 1}, or -1 where they are not known")
    if isinstance(split.images, Vectors):
        return
    images = list(split.images.read(split.rows[:_MOST]))
    chosen.require(len(images) == min(_MOST, len(split)), "must read as many images as it was asked for")
    shaped = all(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 for image in images)
    chosen.require(shaped, "images must be (height, width, 3) uint8 RGB")


def _check_subset(chosen: Chosen, dataset: ImageDataset) -> None:
    """dataset.n_train draws a subset, evenly over classes, that is another dataset."""
    options, classes = chosen.options, len(dataset.class_names)
    count = 2 * classes
    if len(dataset.train) <= count or not dataset.labelled:
        return
    changed = options.dataset.model_copy(update={"n_train": count})
    small = make_dataset(changed.with_allowed(options.allow), options.data_dir)
    chosen.require(
        len(small.train) == count, f"must have {count} training images with dataset.n_train={count}"
    )
    chosen.require(small.fingerprint != dataset.fingerprint, "a subset must have a fingerprint of its own")
    chosen.require(set(small.train.ids) <= set(dataset.train.ids), "a subset must be of the training images")
    counts = np.bincount(small.train.labels, minlength=classes)
    chosen.require(counts.min() >= 1, "a subset must have images of each class")


def _refuse_download(chosen: Chosen, backbone: Any) -> None:
    """Weights of the hub are not fetched for a test."""
    from fused_clip.backbone import OpenClipBackbone

    local = any(file.suffix == ".safetensors" for file in getattr(backbone, "files", ()))
    if isinstance(backbone, OpenClipBackbone) and not local:
        raise chosen.skip("its weights must be downloaded")


def _check_rows(chosen: Chosen, backbone: Backbone, kind: str, given: list[Any], encode: Any) -> None:
    rows: FloatArray = encode(given)
    shape = (len(given), backbone.dim)
    chosen.require(rows.shape == shape, f"must embed {len(given)} {kind} as rows of shape {shape}")
    chosen.require(rows.dtype == np.float32, f"must embed {kind} as float32, not {rows.dtype}")
    chosen.require(np.isfinite(rows).all(), f"must embed {kind} as finite rows")
    alone = np.concatenate([encode([one]) for one in given])
    scale = max(1.0, float(np.abs(rows).max()))
    chosen.require(
        same(alone / scale, rows / scale, _TOLERANCE), f"rows of {kind} must not depend on the batch"
    )
    turned = encode(given[::-1])[::-1]
    chosen.require(
        same(turned / scale, rows / scale, _TOLERANCE), f"rows of {kind} must not depend on the order"
    )
    spread = np.abs(rows[0] - rows[1]).max()
    chosen.require(spread > 0, f"different {kind} must have different rows")
