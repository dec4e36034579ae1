"""Embeddings that a user brings along, instead of images."""

import numpy as np

from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.columns import existing_file, refuse_repeated
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.names import natural_order
from fused_clip.dataset.recipe import Recipe
from fused_clip.dataset.vector_files import (
    IDS,
    LABELS,
    SPLITS,
    VECTORS,
    LabelledVectors,
    Layout,
    read_vectors,
)
from fused_clip.dataset.vectors import Vectors
from fused_clip.support.errors import InputError


def embeddings(
    recipe: Recipe,
    *,
    test_path: str | None = None,
    labels_path: str | None = None,
    test_labels_path: str | None = None,
    vector_column: str = "vectors",
    id_column: str | None = None,
    split_column: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    text_split: str = "text",
) -> ImageDataset:
    """Image embeddings with labels, from ``.npz``, ``.npy`` or Parquet files, in the place of images.

    The test split is a second file, or arrays ``test_vectors`` and ``test_labels`` next to ``train_vectors``
    and ``train_labels``, or given by a column, or a stratified `test_fraction`. A split ``text`` has the
    embeddings of prompts, labelled with their texts: `ImageDataset.texts`. Labels are as in `csv`.

    Parameters
    ----------
    recipe : the shared options; `path` is the file, `label_column` its labels: text or whole numbers.
    test_path : a second file, for the test split.
    labels_path, test_labels_path : all but the vectors, where `path` or `test_path` is a ``.npy`` file, whose
        rows stay on disk until they are needed: a ``.npz`` file, a csv or Parquet table, or a ``.npy`` file
        of labels alone.
    vector_column : (n, d) array of an ``.npz`` file, or a column of lists of a Parquet file.
    id_column : array or column of the rows' names; None to number them.
    split_column : array or column of the rows' splits.
    train_split, test_split, text_split : values of that column; rows of other splits are left out.

    Raises
    ------
    InputError
        If a file can't be read or lacks a column, vectors are of several widths, not finite or zero, a name
        is repeated or a label is missing, or names or sizes don't fit the data.
    """
    if test_path is None and test_labels_path is not None:
        raise InputError("dataset.test_labels_path", "goes with dataset.test_path", test_labels_path)
    if test_path is not None and split_column is not None:
        raise InputError(SPLITS, "must be null when dataset.test_path is set", split_column)
    wanted = {VECTORS: vector_column, LABELS: recipe.label_column, IDS: id_column, SPLITS: split_column}
    columns = {key: column for key, column in wanted.items() if column is not None}
    counts = [n for n in (recipe.n_train, recipe.n_test) if n is not None]
    layout = Layout(
        columns,
        train_split,
        test_split,
        text_split,
        labelled=recipe.labels != "none",
        most=sum(counts) if len(counts) == 2 else None,
    )
    file = existing_file("dataset.path", recipe.path)
    parts = read_vectors("dataset.path", file, layout, labels_path)
    texts = parts.pop(text_split, None)
    if test_path is not None:
        test_file = existing_file("dataset.test_path", test_path)
        if test_file.samefile(file):
            raise InputError("dataset.test_path", "must be another file than dataset.path", test_path)
        parts = _pair(parts, read_vectors("dataset.test_path", test_file, layout, test_labels_path), layout)
    return _assembled(recipe, _in_order(parts, layout), texts, f"file {recipe.path}")


def _pair(
    train: dict[str, LabelledVectors], test: dict[str, LabelledVectors], layout: Layout
) -> dict[str, LabelledVectors]:
    """Train rows of one file and test rows of another."""
    parts = {}
    for option, split, found in (
        ("dataset.path", layout.train, train),
        ("dataset.test_path", layout.test, test),
    ):
        rows = found.get("", found.get(split))
        if rows is None:
            raise InputError(option, f"must contain rows of the split {split!r}", sorted(found))
        parts[split] = rows
    names = [set(part.names) for part in parts.values()]
    if IDS in layout.columns or names[0].isdisjoint(names[1]):
        return parts
    # Rows without ids are numbered by the name of their file, and these are two of one name.
    return {
        split: part._replace(names=tuple(f"{split}/{name}" for name in part.names))
        for split, part in parts.items()
    }


def _in_order(parts: dict[str, LabelledVectors], layout: Layout) -> list[LabelledVectors]:
    """One part, or train and test."""
    if set(parts) == {""}:
        return [parts[""]]
    if set(parts) != {layout.train, layout.test}:
        rule = f"must contain rows of the splits {layout.train!r} and {layout.test!r}, or of no split"
        raise InputError("dataset.path", rule, sorted(parts))
    return [parts[layout.train], parts[layout.test]]


def _assembled(
    recipe: Recipe, parts: list[LabelledVectors], texts: LabelledVectors | None, source: str
) -> ImageDataset:
    everything = {"train": parts[0], "test": parts[-1]} | ({} if texts is None else {"text": texts})
    widths = {split: part.vectors.shape[1] for split, part in everything.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{split}: {width}" for split, width in widths.items())
        raise InputError(VECTORS, f"all vectors must be of one width, and these are not ({listed})")
    refuse_repeated(IDS, "name", (name for part in parts for name in part.names))
    refuse_repeated(LABELS, "text", () if texts is None else texts.names)
    used = recipe.used(parts)
    names = natural_order(label for part in used for label in part.labels if label is not None)
    if recipe.labels != "none" and len(names) < 2:
        raise InputError(LABELS, "must contain two classes or more", names)
    label_of_name = {name: label for label, name in enumerate(names)}
    labelled = [
        Labelled(
            Vectors(part.vectors, part.names),
            np.array([-1 if label is None else label_of_name[label] for label in part.labels], np.int64),
            tuple(names),
            "user",
        )
        for part in used
    ]
    rows = {} if texts is None else dict(zip(texts.names, texts.vectors[:], strict=True))
    return recipe.make(labelled, source, texts=rows)
