"""A user's image files, each checked before anything is computed."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.decode import UnreadableImageError, check, map_threads
from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.images import FileImages
from fused_clip.dataset.names import shortened
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_IMAGE, read_regular


class File(NamedTuple):
    """An image file, or one in a tar file.

    Parameters
    ----------
    path : where it is.
    name : of its row.
    label : name of its class, if it is known.
    start : first byte in a tar file.
    size : bytes in a tar file; None for a file of its own.
    problem : reason why it can't be read, if that is known.
    """

    path: Path
    name: str
    label: str | None
    start: int = 0
    size: int | None = None
    problem: str = ""


class Look(NamedTuple):
    """SHA-256 of an image file, and its time of change in ns."""

    digest: bytes
    time: int


def dataset_of_files(
    recipe: Recipe, parts: Sequence[Sequence[File]], names: Sequence[str], source: str, *, plain: bool = False
) -> ImageDataset:
    """Make a dataset from image files.

    Parameters
    ----------
    recipe : the shared options.
    parts : files of the splits that `Recipe.used` returns.
    names : class names, in class order.
    source : where the files are.
    plain : whether the names are plain integers from 0, which `Recipe.class_names` may name.
    """
    found = [_labelled_files(recipe, part, names) for part in parts]
    labelled = [replace(one, names=None) if plain else one for one, _ in found]
    dataset = recipe.make(labelled, source)
    return replace(dataset, skipped=tuple(name for _, left_out in found for name in left_out))


def _labelled_files(
    recipe: Recipe, files: Sequence[File], names: Sequence[str]
) -> tuple[Labelled, tuple[str, ...]]:
    """Read every file once: the images that can be read, and the names of the rows left out."""
    found = map_threads(lambda file: _look(file, recipe.max_pixels), files)
    looks = list(zip(files, found, strict=True))
    bad = [(file.name, look) for file, look in looks if isinstance(look, UnreadableImageError)]
    if bad and recipe.on_bad_image == "error":
        listed = shortened(f"{name} ({why})" for name, why in bad)
        rule = f"{len(bad)} of {len(files)} images can't be read: {listed}"
        raise InputError("dataset.on_bad_image", rule, hint="Repair them, or set dataset.on_bad_image=skip")
    good = [(file, look) for file, look in looks if isinstance(look, Look)]
    images = FileImages(
        tuple(file.path for file, _ in good),
        tuple(file.name for file, _ in good),
        tuple(look.digest for _, look in good),
        recipe.max_pixels,
        tuple(look.time for _, look in good),
        tuple((file.start, file.size) for file, _ in good if file.size is not None),
    )
    label_of_name = {name: label for label, name in enumerate(names)}
    labels = [-1 if file.label is None else label_of_name[file.label] for file, _ in good]
    labelled = Labelled(images, np.array(labels, dtype=np.int64), tuple(names), "user")
    return labelled, tuple(name for name, _ in bad)


def _look(file: File, max_pixels: int) -> Look | UnreadableImageError:
    """SHA-256 and time of change of a file that is an image, or the error."""
    try:
        if file.problem:
            raise UnreadableImageError(file.problem)
        time = file.path.stat().st_mtime_ns
        encoded = read_regular(file.path, MOST_IMAGE, file.start, file.size)
        check(encoded, max_pixels)
    except UnreadableImageError as error:
        return error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return UnreadableImageError(getattr(error, "strerror", None) or str(error))
    return Look(hashlib.sha256(encoded).digest(), time)
