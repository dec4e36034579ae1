"""Image files of a user: each is read once and tried before anything else is done."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fused_clip.dataset.base import ImageDataset
from fused_clip.dataset.classes import Labelled
from fused_clip.dataset.decode import UnreadableImageError, check, map_threads
from fused_clip.dataset.images import FileImages
from fused_clip.dataset.names import shortened
from fused_clip.dataset.recipe import Recipe
from fused_clip.support.errors import InputError

OnBadImage = Literal["error", "skip"]


class File(NamedTuple):
    """An image file: where it is, the name of its row, the name of its class if it is known."""

    path: Path
    name: str
    label: str | None


def dataset_of_files(
    recipe: Recipe,
    parts: Sequence[Sequence[File]],
    names: Sequence[str],
    on_bad_image: OnBadImage,
    source: str,
) -> ImageDataset:
    """Make a dataset from image files.

    Parameters
    ----------
    parts : files of the splits that `Recipe.used` leaves.
    names : names of the classes, in class order.
    on_bad_image : whether an image that can't be read is an error, or left out and listed in
        `ImageDataset.skipped`.
    source : where the files are.

    Raises
    ------
    InputError
        If an image can't be read and ``on_bad_image="error"``, or as `Recipe.make`.
    """
    found = [labelled_files(part, names, on_bad_image) for part in parts]
    dataset = recipe.make([labelled for labelled, _ in found], source)
    return replace(dataset, skipped=tuple(name for _, left_out in found for name in left_out))


def labelled_files(
    files: Sequence[File], names: Sequence[str], on_bad_image: OnBadImage
) -> tuple[Labelled, tuple[str, ...]]:
    """Read every file once: hash it, and see that it is an image.

    Parameters
    ----------
    files : image files of one split.
    names : names of the classes, in class order.
    on_bad_image : whether an image that can't be read is an error or left out.

    Returns
    -------
    The images that can be read, and the names of the rows left out.

    Raises
    ------
    InputError
        If an image can't be read and ``on_bad_image="error"``.
    """
    looks = list(zip(files, map_threads(lambda file: _look(file.path), files), strict=True))
    bad = [(file.name, look) for file, look in looks if isinstance(look, UnreadableImageError)]
    if bad and on_bad_image == "error":
        listed = shortened(f"{name} ({why})" for name, why in bad)
        rule = f"{len(bad)} of {len(files)} images can't be read: {listed}"
        raise InputError("dataset.on_bad_image", rule, hint="Mend them, or set dataset.on_bad_image=skip")
    good = [(file, look) for file, look in looks if isinstance(look, bytes)]
    images = FileImages(
        tuple(file.path for file, _ in good),
        tuple(file.name for file, _ in good),
        tuple(digest for _, digest in good),
    )
    label_of_name = {name: label for label, name in enumerate(names)}
    labels = [-1 if file.label is None else label_of_name[file.label] for file, _ in good]
    labelled = Labelled(images, np.array(labels, dtype=np.int64), tuple(names), "user")
    return labelled, tuple(name for name, _ in bad)


def _look(path: Path) -> bytes | UnreadableImageError:
    """SHA-256 of a file that is an image, or what is wrong with it."""
    try:
        encoded = path.read_bytes()
        check(encoded)
    except UnreadableImageError as error:
        return error
    except OSError as error:
        return UnreadableImageError(error.strerror or str(error))
    except ValueError as error:  # a name that no file can have
        return UnreadableImageError(str(error))
    return hashlib.sha256(encoded).digest()
