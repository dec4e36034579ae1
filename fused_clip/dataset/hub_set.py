"""Image sets of the Hugging Face hub: from a mirror, from the cache, or from the hub."""

from dataclasses import replace

from fused_clip.dataset.encoded_table import read_split
from fused_clip.dataset.hub_files import HubFiles, hugging_face, mirror
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError


def hub(
    recipe: Recipe,
    *,
    config_name: str | None = None,
    train_split: str = "train",
    test_split: str | None = "test",
    data_dir: str | None = None,
) -> ImageDataset:
    """Labelled images of a hub set, or of Parquet files that mirror one.

    With `data_dir` they are read from ``<data_dir>/<folder>/<split>-*.parquet`` alone, where `folder` is the
    last part of the recipe's `path` (its `name` without one). Without, they come from Hugging Face's caches,
    else from the hub; `ImageDataset.source` has the commit.

    Parameters
    ----------
    recipe : the shared options; `path` is the id on the hub, None for a set of the mirror alone.
    config_name : configuration of the set, where it has several.
    train_split, test_split : names of the splits; None: a stratified `test_fraction` is the test split.
    data_dir : directory of mirrors.

    Raises
    ------
    InputError
        If the data are not found or not as described, the hub can't be reached, or names or sizes don't fit.
    """
    found, origins = find_files(recipe, config_name, train_split, test_split, data_dir)
    columns = recipe.image_column, recipe.label_column
    parents = [
        read_split(found.files[split], *columns, origin, recipe.max_pixels)
        for split, origin in origins.items()
    ]
    dataset = recipe.make(parents, found.description)
    return replace(dataset, files=tuple(file for split in origins for file in found.files[split]))


def find_files(
    recipe: Recipe,
    config_name: str | None = None,
    train_split: str = "train",
    test_split: str | None = "test",
    data_dir: str | None = None,
) -> tuple[HubFiles, dict[str, str]]:
    """Find the files of the splits that are used, and the origin of each split: set and split.

    Parameters
    ----------
    recipe : as in `hub`.
    config_name : as in `hub`.
    train_split : as in `hub`.
    test_split : as in `hub`.
    data_dir : as in `hub`.
    """
    splits = recipe.used([split for split in (train_split, test_split) if split is not None])
    folder = (recipe.path or recipe.name).split("/")[-1]
    if data_dir is not None:
        found = mirror(data_dir, folder, splits)
    elif recipe.path is None:
        raise InputError("dataset.path", "must be the id of a set on the hub, or data_dir a mirror", None)
    else:
        found = hugging_face(recipe.path, recipe.revision, config_name, splits)
    return found, {split: f"{folder}/{split}" for split in splits}
