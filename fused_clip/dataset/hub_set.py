"""Image sets of the Hugging Face hub: from a mirror, from the cache, or from the hub."""

from collections.abc import Sequence
from typing import Unpack

from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.encoded_table import read_split
from fused_clip.dataset.hub_files import Source, hugging_face, mirror
from fused_clip.dataset.recipe import Recipe, RecipeOptions
from fused_clip.support.errors import InputError


def hub(
    *,
    name: str,
    path: str | None = None,
    revision: str = "main",
    config_name: str | None = None,
    train_split: str = "train",
    test_split: str | None = "test",
    image_column: str = "image",
    label_column: str = "label",
    data_dir: str | None = None,
    **options: Unpack[RecipeOptions],
) -> ImageDataset:
    """Labelled images of a hub set, or of Parquet files that mirror one.

    With `data_dir` they are read from ``<data_dir>/<folder>/<split>-*.parquet`` and from nowhere else,
    `folder` being the last part of `path` (`name` without one): options on one hub set share its folder, and
    the ``<folder>/<split>`` that `Split.origin` says. Without, from Hugging Face's caches if they are there,
    else from the hub; `ImageDataset.source` has the commit.

    Parameters
    ----------
    name : short name.
    path : id on the hub, e.g. ``ylecun/mnist``; None for a set that only stands in the mirror.
    revision : branch, tag or commit on the hub.
    config_name : configuration of the set, where it has several.
    train_split, test_split : the data's names of the splits; without a test split, a stratified
        `test_fraction` of the train split serves.
    image_column, label_column : columns of the encoded images and of the labels.
    data_dir : directory of mirrors.

    The others are as in `Recipe`.

    Raises
    ------
    InputError
        If the data are not found or not as described, the hub can't be reached, or names or sizes don't fit.
    """
    recipe = Recipe(name, **options)
    splits = recipe.used([split for split in (train_split, test_split) if split is not None])
    folder = (path or name).split("/")[-1]
    source = _source(path, revision, config_name, splits, folder, data_dir)
    parents = [
        read_split(source.files[split], image_column, label_column, f"{folder}/{split}") for split in splits
    ]
    return recipe.make(parents, source.description)


def _source(
    path: str | None,
    revision: str,
    config_name: str | None,
    splits: Sequence[str],
    folder: str,
    data_dir: str | None,
) -> Source:
    if data_dir is not None:
        return mirror(data_dir, folder, splits)
    if path is None:
        raise InputError("dataset.path", "must be the id of a set on the hub, or data_dir a mirror", path)
    return hugging_face(path, revision, config_name, splits)
