"""A user's own images, listed in a table with their labels."""

import os
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from fused_clip.dataset.columns import as_texts, existing_file, read_columns, refuse_repeated, rows_of_splits
from fused_clip.dataset.folder import OUTSIDE
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_files import File, dataset_of_files
from fused_clip.dataset.inside import inside
from fused_clip.dataset.names import class_name, natural_order, printable, shortened
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError


def csv(
    recipe: Recipe,
    *,
    test_path: str | None = None,
    split_column: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> ImageDataset:
    """Images listed in a table, text as `text_rows` reads it or ``.parquet``, with their labels.

    The test split is a second table, or given by a column, or a stratified `test_fraction`. Labels are text:
    0 and "0" are one class, "0" and "00" are two. Classes are in natural order ("2" before "10"). With
    ``labels="none"`` labels are not read. With ``labels="some"`` rows may have none: see `Recipe.make`.
    Images are read as in `imagefolder`.

    Parameters
    ----------
    recipe : the shared options. `path` is the table; `image_column` has paths, relative to `root` or to the
        folder of the table, which name the rows (with their split where two tables share a name). Those that
        lead out of it, also by a link, need ``outside_root``.
    test_path : a second table, for the test split.
    split_column : column of the rows' splits.
    train_split, test_split : values of that column; rows of other splits are left out.

    Raises
    ------
    InputError
        If a table can't be read, lacks a column or (unless ``labels="some"``) a label, lists an image twice
        or has one class, an image is missing, can't be read or lies outside, or names or sizes don't fit the
        data.
    """
    found = listed_files(recipe, test_path, split_column, train_split, test_split)
    return dataset_of_files(recipe, found.parts, found.names, f"table {recipe.path}")


class ListedFiles(NamedTuple):
    """Images of the parts that are used, class names in class order, and the tables."""

    parts: Sequence[Sequence[File]]
    names: Sequence[str]
    tables: Sequence[Path]


def listed_files(
    recipe: Recipe,
    test_path: str | None = None,
    split_column: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> ListedFiles:
    """Read the tables of `csv`, and check that their images are there.

    Parameters
    ----------
    recipe : as in `csv`.
    test_path : as in `csv`.
    split_column : as in `csv`.
    train_split, test_split : as in `csv`.
    """
    if test_path is not None and split_column is not None:
        raise InputError("dataset.split_column", "must be null when dataset.test_path is set", split_column)
    wanted = {
        "dataset.image_column": recipe.image_column,
        "dataset.label_column": None if recipe.labels == "none" else recipe.label_column,
        "dataset.split_column": split_column,
    }
    splits = (train_split, test_split)
    named = {"dataset.path": recipe.path, "dataset.test_path": test_path}
    tables = {
        option: existing_file(option, table)
        for option, table in named.items()
        if option == "dataset.path" or table is not None
    }
    parts = [
        part for option, table in tables.items() for part in _listed(option, table, recipe, wanted, splits)
    ]
    used = recipe.used(_distinct(parts, splits))
    if recipe.on_bad_image == "error":
        _refuse_missing([file for part in used for file in part])
    names = natural_order(file.label for part in used for file in part if file.label is not None)
    if recipe.labels != "none" and len(names) < 2:
        raise InputError("dataset.label_column", "must contain two classes or more", names)
    return ListedFiles(used, names, list(tables.values()))


def _listed(
    option: str, table: Path, recipe: Recipe, wanted: dict[str, str | None], splits: Sequence[str]
) -> list[list[File]]:
    """Files of a table: one list, or one a split."""
    start = table.parent if recipe.root is None else Path(recipe.root).expanduser()
    if not start.is_dir():
        raise InputError("dataset.root", "must be an existing folder", recipe.root)
    columns = {
        key: as_texts(key, values, **(_blanks(recipe) if key == "dataset.label_column" else {}))
        for key, values in read_columns(option, table, wanted).items()
    }
    names = columns["dataset.image_column"]
    labels = (class_name(label) if label else None for label in columns.get("dataset.label_column", ()))
    files = [File(start / name, printable(name), label) for name, label in zip_longest(names, labels)]
    if not recipe.outside_root:
        way = f"dataset.root=FOLDER names another folder, {OUTSIDE} reads any image"
        check = inside(start, "dataset.image_column", way)
        for file in files:
            check(file.path)
    if "dataset.split_column" not in columns:
        return [files]
    parts = rows_of_splits("dataset.split_column", columns["dataset.split_column"], splits)
    return [[files[row] for row in part] for part in parts]


def _blanks(recipe: Recipe) -> dict[str, Any]:
    """What a row without a label means, as `as_texts` takes it."""
    hint = "dataset.labels=some takes them as images without a label"
    return {"blanks": recipe.labels == "some", "hint": hint}


def _distinct(parts: list[list[File]], splits: Sequence[str]) -> list[list[File]]:
    """Check that no file is listed twice; names that two tables share get the split in front."""
    files = [file for part in parts for file in part]
    places = (printable(os.path.abspath(file.path)) for file in files)
    refuse_repeated("dataset.image_column", "image", places)
    if len({file.name for file in files}) == len(files):
        return parts
    return [
        [file._replace(name=f"{split}/{file.name}") for file in part]
        for split, part in zip(splits, parts, strict=True)
    ]


def _refuse_missing(files: Sequence[File]) -> None:
    if missing := [file.name for file in files if not file.path.is_file()]:
        listed = shortened(missing)
        rule = f"{len(missing)} of {len(files)} images are not there: {listed}"
        start = "Relative paths start in the folder of the table unless dataset.root names another"
        raise InputError("dataset.image_column", rule, hint=f"{start}; on_bad_image=skip leaves them out")
